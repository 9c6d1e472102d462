// SPDX-License-Identifier: Apache-2.0
// The one codec: little-endian integers and length-prefixed bytes. A message lists its fields once, in a static
// template `fields(archive, message)`; Encoder and Decoder both walk that list, so the two directions cannot differ.
#pragma once

#include <algorithm>
#include <bit>
#include <concepts>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

#include "base/result.hpp"

static_assert(std::endian::native == std::endian::little, "the codec copies integers as they lie in memory");

namespace sandforge::wire {

// Appends to a string that outlives it. Texts over their cap are a bug of the caller, who validated before; they are
// cut so that the frame stays well-formed.
class Encoder {
 public:
  explicit Encoder(std::string& out) : out_(out) {}

  template <std::integral T>
  void operator()(const T& value) {
    char bytes[sizeof(T)];
    std::memcpy(bytes, &value, sizeof(T));
    out_.append(bytes, sizeof(T));
  }
  template <typename E>
  requires std::is_enum_v<E>
  void choice(const E& value, E) { (*this)(static_cast<std::underlying_type_t<E>>(value)); }
  void text(std::string_view value, std::size_t cap) {
    value = value.substr(0, cap);
    (*this)(static_cast<std::uint32_t>(value.size()));
    out_.append(value);
  }
  void texts(const std::vector<std::string>& values, std::size_t max_count, std::size_t cap) {
    const std::size_t count = std::min(values.size(), max_count);
    (*this)(static_cast<std::uint32_t>(count));
    for (std::size_t i = 0; i < count; ++i) text(values[i], cap);
  }

 private:
  std::string& out_;
};

// Reads what a peer wrote. Never reads past the end; after the first fault every field stays as it was and ok() is
// false.
class Decoder {
 public:
  explicit Decoder(std::string_view in) : in_(in) {}

  template <std::integral T>
  void operator()(T& value) {
    if (!need(sizeof(T))) return;
    std::memcpy(&value, in_.data(), sizeof(T));
    in_.remove_prefix(sizeof(T));
  }
  // An enumeration whose values are 0..last.
  template <typename E>
  requires std::is_enum_v<E>
  void choice(E& value, E last) {
    using U = std::underlying_type_t<E>;
    U raw = 0;
    (*this)(raw);
    if (!ok_) return;
    if (raw > static_cast<U>(last)) {
      ok_ = false;
      return;
    }
    value = static_cast<E>(raw);
  }
  void text(std::string& value, std::size_t cap) {
    std::uint32_t length = 0;
    (*this)(length);
    if (!ok_ || length > cap || !need(length)) {
      ok_ = false;
      return;
    }
    value.assign(in_.substr(0, length));
    in_.remove_prefix(length);
  }
  void texts(std::vector<std::string>& values, std::size_t max_count, std::size_t cap) {
    std::uint32_t count = 0;
    (*this)(count);
    // Every entry takes at least its four length bytes: a count beyond that is a lie, refused before memory is spent.
    if (!ok_ || count > max_count || count > in_.size() / sizeof(std::uint32_t)) {
      ok_ = false;
      return;
    }
    values.clear();
    values.resize(count);
    for (std::string& value : values) text(value, cap);
  }

  bool ok() const noexcept { return ok_; }
  std::string_view rest() const noexcept { return in_; }

 private:
  bool need(std::size_t count) noexcept {
    ok_ = ok_ && in_.size() >= count;
    return ok_;
  }

  std::string_view in_;
  bool ok_ = true;
};

template <typename Message>
std::string encode(const Message& message) {
  std::string out;
  Encoder encoder(out);
  Message::fields(encoder, message);
  return out;
}

// The whole of `bytes` must be the message: a tail is refused like a missing byte.
template <typename Message>
base::Result<Message> decode(std::string_view bytes) {
  Message message;
  Decoder decoder(bytes);
  Message::fields(decoder, message);
  if (!decoder.ok() || !decoder.rest().empty()) {
    return base::make_error(base::Code::Corrupt, "bad_message",
                            std::string("wire protocol: malformed ") + Message::kName);
  }
  return message;
}

}  // namespace sandforge::wire
