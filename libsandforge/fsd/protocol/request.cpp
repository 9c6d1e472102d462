// SPDX-License-Identifier: Apache-2.0
#include "fsd/protocol/request.hpp"

#include <algorithm>
#include <cerrno>

#include "base/limits.hpp"

namespace sandforge::fsd {
namespace {

constexpr std::size_t kNameMax = 255;

std::string_view as_text(std::span<const std::byte> bytes) {
  // SAFETY: bytes seen as characters.
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

int check_text(Text kind, std::string_view text) noexcept {
  switch (kind) {
    case Text::None: return EINVAL;
    case Text::Name: return check_name(text);
    case Text::Target:
      if (text.empty()) return ENOENT;
      return text.size() < limits::kPathMax ? 0 : ENAMETOOLONG;
    case Text::Xattr:
      if (text.empty()) return EINVAL;
      [[fallthrough]];
    case Text::Unused: return text.size() <= kNameMax ? 0 : ENAMETOOLONG;
  }
  return EINVAL;
}

// Takes one text with its NUL off `rest`.
int take_text(Text kind, std::span<const std::byte>& rest, std::string_view& out) noexcept {
  const auto end = std::find(rest.begin(), rest.end(), std::byte{0});
  if (end == rest.end()) return EINVAL;
  const auto length = static_cast<std::size_t>(end - rest.begin());
  out = as_text(rest.first(length));
  rest = rest.subspan(length + 1);
  return check_text(kind, out);
}

// What the fixed part says about the length of the rest must be the truth.
int check_tail(const Request& request, std::span<const std::byte> rest) noexcept {
  switch (request.opcode->tail) {
    case Tail::None: return rest.empty() ? 0 : EINVAL;
    case Tail::Newer: return rest.size() <= limits::kFsdNewerBytesMax ? 0 : EINVAL;
    case Tail::Data: return request.body<fuse_write_in>().size == rest.size() ? 0 : EINVAL;
    case Tail::Value: return request.body<fuse_setxattr_in>().size == rest.size() ? 0 : EINVAL;
    case Tail::Forgets: {
      // Not count * size: that product could wrap around.
      const std::size_t count = request.body<fuse_batch_forget_in>().count;
      return rest.size() % sizeof(fuse_forget_one) == 0 && rest.size() / sizeof(fuse_forget_one) == count ? 0 : EINVAL;
    }
  }
  return EINVAL;
}

int fill(Request& request, std::span<const std::byte> rest) noexcept {
  const Opcode& opcode = *request.opcode;
  if (rest.size() < opcode.body) return EINVAL;
  request.fixed = opcode.tail == Tail::Newer ? rest : rest.first(opcode.body);
  rest = rest.subspan(opcode.body);
  for (std::size_t i = 0; i < std::size(opcode.texts) && opcode.texts[i] != Text::None; ++i) {
    if (const int error = take_text(opcode.texts[i], rest, request.texts[i]); error != 0) return error;
  }
  if (const int error = check_tail(request, rest); error != 0) return error;
  if (opcode.tail != Tail::Newer) request.data = rest;
  return 0;
}

}  // namespace

int check_name(std::string_view name) noexcept {
  if (name.empty() || name == "." || name == "..") return EINVAL;
  if (name.size() > kNameMax) return ENAMETOOLONG;
  return name.find('/') == std::string_view::npos && name.find('\0') == std::string_view::npos ? 0 : EINVAL;
}

bool is_message_length(std::size_t length) noexcept {
  return length >= sizeof(fuse_in_header) && length <= limits::kFsdMessageBytesMax;
}

std::size_t claimed_length(std::span<const std::byte> start) noexcept {
  std::uint32_t length = 0;
  if (start.size() < sizeof length) return 0;
  std::memcpy(&length, start.data(), sizeof length);
  return is_message_length(length) ? length : 0;
}

Parsed parse(std::span<const std::byte> message) noexcept {
  Parsed parsed;
  if (!is_message_length(message.size()) || claimed_length(message) != message.size()) return parsed;
  fuse_in_header header{};
  std::memcpy(&header, message.data(), sizeof header);
  Request& request = parsed.request;
  request.unique = header.unique;
  request.node = header.nodeid;
  request.opcode = find_opcode(header.opcode);
  parsed.verdict = Parsed::Verdict::Refused;
  if (request.opcode == nullptr) {
    parsed.error = ENOSYS;
    return parsed;
  }
  // Extensions come only to those who asked for them at INIT.
  parsed.error = header.total_extlen != 0 ? EINVAL : fill(request, message.subspan(sizeof header));
  if (parsed.error == 0) parsed.verdict = Parsed::Verdict::Good;
  return parsed;
}

}  // namespace sandforge::fsd
