// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/aml.hpp"

namespace sandforge::vmm::aml {
namespace {

constexpr char kNameOp = 0x08, kBytePrefix = 0x0a, kWordPrefix = 0x0b, kDwordPrefix = 0x0c, kStringPrefix = 0x0d,
               kScopeOp = 0x10, kBufferOp = 0x11, kPackageOp = 0x12, kExtended = 0x5b;
constexpr auto kDeviceOp = static_cast<char>(0x82);

Bytes little(std::uint32_t value, int bytes) {
  Bytes out;
  for (int i = 0; i < bytes; ++i) out += static_cast<char>(value >> (8 * i));
  return out;
}

// 20.2.4: the length counts itself. One byte up to 63; else the first byte has the low four bits and how many follow.
Bytes with_length(const Bytes& body) {
  const std::size_t one = body.size() + 1;
  if (one < 64) return little(static_cast<std::uint32_t>(one), 1) + body;
  for (std::uint32_t more = 1; more < 3; ++more) {
    const std::size_t total = body.size() + 1 + more;
    if (total >= std::size_t{1} << (4 + 8 * more)) continue;
    const auto length = static_cast<std::uint32_t>(total);
    return little((more << 6) | (length & 0xf), 1) + little(length >> 4, static_cast<int>(more)) + body;
  }
  const auto length = static_cast<std::uint32_t>(body.size() + 4);
  return little((3u << 6) | (length & 0xf), 1) + little(length >> 4, 3) + body;
}

// Of one segment, absolute or relative.
Bytes name_string(std::string_view path) {
  Bytes out;
  if (path.starts_with('\\')) {
    out += '\\';
    path.remove_prefix(1);
  }
  out += path.substr(0, 4);
  if (path.size() < 4) out.append(4 - path.size(), '_');
  return out;
}

}  // namespace

Bytes integer(std::uint32_t value) {
  if (value == 0) return Bytes(1, '\0');
  if (value == 1) return Bytes(1, '\1');
  if (value <= 0xff) return kBytePrefix + little(value, 1);
  if (value <= 0xffff) return kWordPrefix + little(value, 2);
  return kDwordPrefix + little(value, 4);
}

Bytes text(std::string_view value) { return kStringPrefix + Bytes(value) + '\0'; }

Bytes name(std::string_view path, const Bytes& value) { return kNameOp + name_string(path) + value; }

Bytes package(std::initializer_list<Bytes> elements) {
  Bytes body = little(static_cast<std::uint32_t>(elements.size()), 1);
  for (const Bytes& element : elements) body += element;
  return kPackageOp + with_length(body);
}

Bytes device(std::string_view path, const Bytes& terms) {
  return Bytes{kExtended, kDeviceOp} + with_length(name_string(path) + terms);
}

Bytes scope(std::string_view path, const Bytes& terms) { return kScopeOp + with_length(name_string(path) + terms); }

Bytes resources(std::initializer_list<Bytes> descriptors) {
  Bytes body;
  for (const Bytes& descriptor : descriptors) body += descriptor;
  body += Bytes{0x79, 0x00};  // end tag; checksum 0 means "not given" (6.4.2.9)
  return kBufferOp + with_length(integer(static_cast<std::uint32_t>(body.size())) + body);
}

Bytes memory32(std::uint32_t address, std::uint32_t bytes) {
  constexpr std::uint32_t kReadWrite = 1;
  return little(0x86, 1) + little(9, 2) + little(kReadWrite, 1) + little(address, 4) + little(bytes, 4);
}

Bytes ports(std::uint16_t first, std::uint8_t count) {
  constexpr std::uint32_t kDecode16 = 1, kAlignment = 1;
  return little(0x47, 1) + little(kDecode16, 1) + little(first, 2) + little(first, 2) + little(kAlignment, 1) +
         little(count, 1);
}

Bytes interrupt(std::uint32_t line, bool shared) {
  constexpr std::uint32_t kConsumer = 1, kEdge = 2, kShared = 8;
  return little(0x89, 1) + little(6, 2) + little(kConsumer | kEdge | (shared ? kShared : 0), 1) + little(1, 1) +
         little(line, 4);
}

}  // namespace sandforge::vmm::aml
