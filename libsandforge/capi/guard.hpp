// SPDX-License-Identifier: Apache-2.0
// The edge of the C ABI: turns results and exceptions into codes and owned errors, and checks caller-made structs.
#pragma once

#include <sandforge/sandforge.h>

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <exception>
#include <new>
#include <utility>

#include "base/result.hpp"

struct sandforge_error {
  sandforge::base::Error value;
};

namespace sandforge::capi {

// Hands `error` to the caller, if it asked for it.
inline sandforge_code fail(base::Error error, sandforge_error** out) noexcept {
  const auto code = static_cast<sandforge_code>(error.code);
  if (out != nullptr) *out = new (std::nothrow) sandforge_error{std::move(error)};
  return code;
}

// Runs `body`, which gives a base::Status. Nothing leaves as an exception.
template <typename Body>
sandforge_code guard(sandforge_error** out, Body&& body) noexcept {
  try {
    base::Status status = std::forward<Body>(body)();
    if (!status) return fail(std::move(status).error(), out);
    return SANDFORGE_OK;
  } catch (const std::bad_alloc&) {
    return fail(base::Error{base::Code::Exhausted, "no_memory", {}, {}, ENOMEM}, out);
  } catch (const std::exception& exception) {
    return fail(base::make_error(base::Code::Internal, {}, exception.what()), out);
  }
}

// A copy of a size-first struct of another version of the header; NULL gives the zero one.
template <typename Struct>
base::Result<Struct> read_struct(const Struct* given) {
  Struct value{};
  value.size = sizeof(Struct);
  if (given == nullptr) return value;
  if (given->size < sizeof(std::size_t)) {
    return base::make_error(base::Code::InvalidArgument, "struct_size", "a struct was not made with its *_INIT macro");
  }
  // SAFETY: the caller says how many bytes it has.
  const auto* bytes = reinterpret_cast<const char*>(given);
  if (given->size > sizeof(Struct) &&
      std::any_of(bytes + sizeof(Struct), bytes + given->size, [](char byte) { return byte != 0; })) {
    return base::make_error(base::Code::Unsupported, "struct_size", "a struct uses members of a newer library");
  }
  std::memcpy(static_cast<void*>(&value), bytes, std::min(given->size, sizeof(Struct)));
  value.size = sizeof(Struct);
  return value;
}

}  // namespace sandforge::capi
