// SPDX-License-Identifier: Apache-2.0
// Versioned structs of the C ABI: the first member is the size that the caller's header gave it. A shorter one (older
// header) is filled up with zeros; a longer one (newer header) must have a tail of zeros only.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <type_traits>

#include "base/result.hpp"

namespace sandforge::capi {

// `given` NULL: all defaults. `name` is for the message.
template <typename T>
base::Result<T> read_struct(const T* given, const char* name) {
  static_assert(std::is_trivially_copyable_v<T> && offsetof(T, size) == 0);
  T whole{};
  whole.size = sizeof(T);
  if (given == nullptr) return whole;
  // SAFETY: the caller vouches for `size` bytes; only these are touched.
  const auto* bytes = reinterpret_cast<const unsigned char*>(given);
  std::size_t size = 0;
  std::memcpy(&size, bytes, sizeof(size));
  if (size < sizeof(size)) {
    return base::make_error(base::Code::InvalidArgument, "struct_size",
                            std::string(name) + ": size is not set; fill the struct with its *_INIT macro");
  }
  if (size > sizeof(T) && std::any_of(bytes + sizeof(T), bytes + size, [](unsigned char byte) { return byte != 0; })) {
    return base::make_error(base::Code::Unsupported, "struct_version",
                            std::string(name) + ": a field is set that this version of the library does not know",
                            "use a libsandforge that is at least as new as the header");
  }
  std::memcpy(&whole, bytes, std::min(size, sizeof(T)));
  whole.size = sizeof(T);
  return whole;
}

}  // namespace sandforge::capi
