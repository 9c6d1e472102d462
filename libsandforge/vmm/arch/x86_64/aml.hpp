// SPDX-License-Identifier: Apache-2.0
// Writes the little of ACPI's machine language (AML) that describes devices. Each function gives the bytes of one term;
// terms are put together by concatenation.
// SPEC: ACPI 6.4, chapter 20 (AML), section 6.4 (resource descriptors).
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace sandforge::vmm::aml {

using Bytes = std::string;

Bytes integer(std::uint32_t value);
Bytes text(std::string_view value);
// Names are four characters, padded with '_'; `path` may start with a backslash.
Bytes name(std::string_view path, const Bytes& value);
Bytes package(std::initializer_list<Bytes> elements);
Bytes device(std::string_view path, const Bytes& terms);
Bytes scope(std::string_view path, const Bytes& terms);

// One resource template (a buffer) of these descriptors.
Bytes resources(std::initializer_list<Bytes> descriptors);
Bytes memory32(std::uint32_t address, std::uint32_t bytes);
Bytes ports(std::uint16_t first, std::uint8_t count);
// Edge-triggered, active high.
Bytes interrupt(std::uint32_t line, bool shared = false);

}  // namespace sandforge::vmm::aml
