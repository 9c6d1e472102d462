// SPDX-License-Identifier: Apache-2.0
// SHA-256 digests in the form that manifests and OCI layouts write them: "sha256:" and 64 lower-case hex digits.
#pragma once

#include <array>
#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "base/result.hpp"

namespace sandforge::image {

class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(const Sha256&) = delete;
  Sha256& operator=(const Sha256&) = delete;

  void update(std::string_view bytes);
  // "sha256:…". Once; the object is of no further use.
  std::string finish();

 private:
  struct Context;  // libmd's
  std::unique_ptr<Context> context_;
};

std::string sha256_of(std::string_view bytes);
// Reads the whole file. Blocks.
base::Result<std::string> sha256_of_file(const std::filesystem::path& path);

bool is_digest(std::string_view text) noexcept;
// The 64 hex digits of a digest. Precondition: is_digest.
std::string_view hex_of(std::string_view digest) noexcept;

}  // namespace sandforge::image
