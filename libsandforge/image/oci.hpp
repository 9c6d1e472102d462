// SPDX-License-Identifier: Apache-2.0
// The JSON of an OCI image layout: index and manifest, as far as an import needs them.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"

namespace sandforge::image {

// SPEC: OCI Image Format Specification, descriptor.md. The digest is a valid sha256 one.
struct OciDescriptor {
  std::string media_type;
  std::string digest;
  std::uint64_t bytes = 0;
  std::string os;  // of its platform; empty when it names none
  std::string architecture;

  bool is_index() const noexcept;     // an image index, or Docker's manifest list
  bool is_manifest() const noexcept;  // an image manifest, of OCI or Docker
};

// Both take untrusted text and cap what they take from it. Errors: corrupt "oci_corrupt".
base::Result<std::vector<OciDescriptor>> parse_oci_index(std::string_view json);
// The layers, lowest first.
base::Result<std::vector<OciDescriptor>> parse_oci_manifest(std::string_view json);

}  // namespace sandforge::image
