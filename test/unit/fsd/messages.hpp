// SPDX-License-Identifier: Apache-2.0
// Builds FUSE messages as a kernel would, and as no kernel would.
#pragma once

#include <linux/fuse.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "fsd/protocol/opcodes.hpp"

namespace sandforge::fsd::test {

// Bytes of one message; every piece can lie.
class Message {
 public:
  explicit Message(std::uint32_t opcode, std::uint64_t node = FUSE_ROOT_ID, std::uint64_t unique = 7) {
    header_.opcode = opcode;
    header_.nodeid = node;
    header_.unique = unique;
  }
  Message& raw(std::string_view bytes) {
    body_ += bytes;
    return *this;
  }
  template <typename T>
  Message& put(const T& value) {
    // SAFETY: bytes of a plain structure.
    return raw({reinterpret_cast<const char*>(&value), sizeof value});
  }
  Message& text(std::string_view value) { return raw(value).raw({"\0", 1}); }
  Message& zeroes(std::size_t count) { return raw(std::string(count, '\0')); }
  Message& length(std::uint32_t value) {
    length_ = value;
    lies_ = true;
    return *this;
  }
  Message& extensions(std::uint16_t value) {
    header_.total_extlen = value;
    return *this;
  }
  // Without the last bytes, the header's length being true.
  Message& cut(std::size_t count) {
    body_.resize(body_.size() - std::min(count, body_.size()));
    return *this;
  }
  std::uint32_t opcode() const { return header_.opcode; }
  std::string bytes() const {
    fuse_in_header header = header_;
    header.len = lies_ ? length_ : static_cast<std::uint32_t>(sizeof header + body_.size());
    // SAFETY: bytes of a plain structure.
    return std::string(reinterpret_cast<const char*>(&header), sizeof header) + body_;
  }

 private:
  fuse_in_header header_{};
  std::string body_;
  std::uint32_t length_ = 0;
  bool lies_ = false;
};

// A copy in memory of exactly this length: the sanitizer sees every byte that is read beyond it.
class Exact {
 public:
  explicit Exact(std::string_view bytes) : size_(bytes.size()), bytes_(new std::byte[bytes.size()]) {
    if (size_ != 0) std::memcpy(bytes_.get(), bytes.data(), size_);
  }
  std::span<const std::byte> span() const { return {bytes_.get(), size_}; }

 private:
  std::size_t size_;
  std::unique_ptr<std::byte[]> bytes_;
};

// A message of this opcode that is in order in every respect.
inline Message good_message(const Opcode& opcode, std::uint64_t node = FUSE_ROOT_ID) {
  Message message(opcode.number, node);
  std::string fixed(opcode.body, '\0');
  constexpr std::uint32_t kCount = 3;
  if (opcode.tail == Tail::Data) std::memcpy(fixed.data() + offsetof(fuse_write_in, size), &kCount, sizeof kCount);
  if (opcode.tail == Tail::Value || opcode.tail == Tail::Forgets) std::memcpy(fixed.data(), &kCount, sizeof kCount);
  message.raw(fixed);
  int index = 0;
  for (const Text kind : opcode.texts) {
    if (kind != Text::None) message.text(index++ == 0 ? "first" : "second");
  }
  if (opcode.tail == Tail::Data || opcode.tail == Tail::Value) message.raw("abc");
  if (opcode.tail == Tail::Forgets) message.zeroes(kCount * sizeof(fuse_forget_one));
  return message;
}

}  // namespace sandforge::fsd::test
