// SPDX-License-Identifier: Apache-2.0
// Frames of the wire protocol between the engine and the agent in the guest: header layout, types, incremental parser.
//
//   byte 0      4      5      6        8         12
//        +------+------+------+--------+---------+----------------------+
//        |length| type | flags|  zero  |stream id|  length bytes payload|      all integers little-endian
//        +------+------+------+--------+---------+----------------------+
//
// `length` counts the payload only and is capped by type. Stream 0 is the connection itself; the host numbers streams
// 1, 2, 3, … and never uses a number twice on one connection. Numbers with the top bit set are kept for streams that
// the agent opens (none in version 1).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "base/limits.hpp"
#include "base/result.hpp"

namespace sandforge::wire {

inline constexpr std::uint32_t kMagic = 0x31574653;  // "SFW1"
inline constexpr std::uint16_t kVersion = 1;

enum class FrameType : std::uint8_t {
  Hello = 1,    // agent -> host, stream 0, first frame of a connection
  Welcome = 2,  // host -> agent, stream 0, answers Hello
  Open = 3,     // host -> agent: u16 operation, then its request; opens the stream
  Meta = 4,     // agent -> host: at most one, before any data
  Data = 5,     // both: bytes of channel `flags`
  End = 6,      // both: no more data on channel `flags`
  Credit = 7,   // both: u32 bytes more may be sent on channel `flags`
  Result = 8,   // agent -> host: the last frame of a stream
  Signal = 9,   // host -> agent: u32 Linux signal number
  Cancel = 10,  // host -> agent: end the operation now; Result follows all the same
  Ping = 11,    // both, stream 0: answered by a Pong with the same payload (at most 64 bytes)
  Pong = 12,
};
inline constexpr std::uint8_t kFrameTypeMax = 12;

// Channels, carried in `flags` of Data, End and Credit. Other frames have flags 0.
inline constexpr std::uint8_t kContent = 0;  // of a file or listing; stdin of a command
inline constexpr std::uint8_t kStdin = 0;
inline constexpr std::uint8_t kStdout = 1;
inline constexpr std::uint8_t kStderr = 2;
inline constexpr std::uint8_t kChannelMax = 2;

struct FrameHeader {
  std::uint32_t length = 0;
  FrameType type = FrameType::Ping;
  std::uint8_t flags = 0;
  std::uint32_t stream = 0;
};

struct Frame {
  FrameHeader header;
  std::string_view payload;  // borrowed from the parser until its next call
};

// The largest payload that a frame of this type may have.
std::size_t payload_cap(FrameType type) noexcept;

// Appends a whole frame. Precondition: payload within payload_cap.
void append_frame(std::string& out, FrameType type, std::uint8_t flags, std::uint32_t stream, std::string_view payload);

// Cuts a byte stream into frames, whatever its pieces are. Holds at most one frame's bytes beyond what it was fed.
class FrameParser {
 public:
  // Takes bytes as they come.
  void feed(std::string_view bytes);
  // The same without a copy: room() gives space for at least `bytes` (borrowed until the next call), a read goes into
  // it, and commit() tells how many of its first bytes are real.
  std::span<char> room(std::size_t bytes);
  void commit(std::size_t count);
  // The next whole frame, or an empty optional-like `has_frame == false`. Corrupt: unknown type, reserved bytes not
  // zero, length over the cap, channel over kChannelMax; the connection is then of no use and the error sticks.
  struct Next {
    bool has_frame = false;
    Frame frame;
  };
  base::Result<Next> next();

 private:
  std::string buffer_;      // its size is the space, end_ the fill: space is zeroed once, not for every read
  std::size_t offset_ = 0;  // of the first byte that was not handed out
  std::size_t end_ = 0;     // behind the last byte that came
  bool broken_ = false;
};

}  // namespace sandforge::wire
