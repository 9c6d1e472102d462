// SPDX-License-Identifier: Apache-2.0
// One FUSE request, checked against the table of opcodes. The bytes are private memory of this process: whoever reads
// them from where a guest could still write has copied them first, once.
//
//   | fuse_in_header (40) | fixed part | text NUL | text NUL | data |
//   |<------------------------ header.len ------------------------>|
#pragma once

#include <linux/fuse.h>

#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>
#include <type_traits>

#include "fsd/protocol/opcodes.hpp"

namespace sandforge::fsd {

struct Request {
  const Opcode* opcode = nullptr;
  std::uint64_t unique = 0;
  std::uint64_t node = 0;
  std::span<const std::byte> fixed;  // as long as opcode->body, of INIT maybe longer
  std::string_view texts[2];         // each is followed by its NUL: data() is a C string
  std::span<const std::byte> data;   // of WRITE and SETXATTR; of BATCH_FORGET its entries

  // The fixed part. What is shorter than Body (INIT, SETXATTR) is filled up with zeroes.
  template <typename Body>
  Body body() const noexcept {
    static_assert(std::is_trivially_copyable_v<Body>);
    Body value{};
    if (!fixed.empty()) std::memcpy(&value, fixed.data(), std::min(sizeof value, fixed.size()));
    return value;
  }
  // Entry `index` of BATCH_FORGET, below forget_count().
  fuse_forget_one forget(std::size_t index) const noexcept {
    fuse_forget_one one{};
    std::memcpy(&one, data.data() + index * sizeof one, sizeof one);
    return one;
  }
  std::size_t forget_count() const noexcept { return data.size() / sizeof(fuse_forget_one); }
};

struct Parsed {
  enum class Verdict : std::uint8_t {
    Good,     // `request` is whole
    Refused,  // answer `error`; where the opcode has no answer, drop it. request.unique and .opcode (may be null) hold
    Broken,   // not even a header that fits: nothing on this connection can be trusted to be framed
  } verdict = Verdict::Broken;
  int error = 0;  // an errno
  Request request;
};

// `message`: exactly one, as the transport framed it. Never reads beyond it. The views in the answer live as long as
// the bytes.
Parsed parse(std::span<const std::byte> message) noexcept;

// The length that a message claims by its first bytes: 0 when there are too few, or it is no length that a message may
// have. For transports that are streams.
std::size_t claimed_length(std::span<const std::byte> start) noexcept;
bool is_message_length(std::size_t length) noexcept;

// 0, or the errno with which a name is refused. Checked here by the parser, and once more where names are used.
int check_name(std::string_view name) noexcept;

}  // namespace sandforge::fsd
