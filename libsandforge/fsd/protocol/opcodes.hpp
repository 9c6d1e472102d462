// SPDX-License-Identifier: Apache-2.0
// The one table of FUSE requests: what each must look like before anything acts on it. Parser, dispatcher and tests
// read this table; no handler checks a length again.
#pragma once

#include <cstdint>
#include <span>

namespace sandforge::fsd {

// A NUL-terminated text after the fixed part of a request.
enum class Text : std::uint8_t {
  None,
  Name,    // one component of a path: 1..255 bytes, no '/', neither "." nor ".."
  Target,  // of a symbolic link: 1..4095 bytes, anything
  Xattr,   // name of an extended attribute: 1..255 bytes, anything
  Unused,  // sent by the kernel and meaningless: up to 255 bytes, anything
};

// What follows the texts.
enum class Tail : std::uint8_t {
  None,     // nothing may follow
  Data,     // as many bytes as the request's `size` says: WRITE
  Value,    // the same, of an extended attribute: SETXATTR
  Forgets,  // as many fuse_forget_one as `count` says: BATCH_FORGET
  Newer,    // what a later protocol version appended, ignored: INIT
};

// Whether a read-only mount refuses the request.
enum class Mutates : std::uint8_t { No, Yes, ByFlags };  // ByFlags: an OPEN for writing

struct Opcode {
  std::uint32_t number;
  const char* name;
  std::uint16_t body;  // exact length of the fixed part, header not counted
  Text texts[2];
  Tail tail;
  std::uint32_t reply_max;  // bytes of the answer's body
  Mutates mutates;
  bool answered;  // false: the kernel expects no answer, whatever happens
};

// Null for what this server does not know: the answer is ENOSYS.
const Opcode* find_opcode(std::uint32_t number) noexcept;

// In the order of their numbers.
std::span<const Opcode> all_opcodes() noexcept;

}  // namespace sandforge::fsd
