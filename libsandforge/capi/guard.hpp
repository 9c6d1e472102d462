// SPDX-License-Identifier: Apache-2.0
// The border of the C ABI: errors become objects, exceptions of the standard library stop here, NULLs are refused.
#pragma once

#include <sandforge/sandforge.h>

#include <exception>
#include <new>
#include <utility>

#include "base/result.hpp"

struct sandforge_error {
  sandforge::base::Error error;
};

namespace sandforge::capi {

// Stores an owned copy in `*slot` (when there is one) and answers the code.
sandforge_code give_error(sandforge_error** slot, base::Error error) noexcept;
// The one error that needs no memory; shared, and ignored by sandforge_error_free.
sandforge_code give_out_of_memory(sandforge_error** slot) noexcept;

inline base::Error null_argument(const char* name) {
  return base::make_error(base::Code::InvalidArgument, "null_argument", std::string(name) + " is NULL");
}

// Runs `body`, which answers a base::Status, and makes its outcome one of the C ABI.
template <typename Body>
sandforge_code guard(sandforge_error** slot, Body&& body) noexcept {
  try {
    base::Status status = body();
    if (status) return SANDFORGE_OK;
    return give_error(slot, std::move(status).error());
  } catch (const std::bad_alloc&) {
    return give_out_of_memory(slot);
  } catch (const std::exception& exception) {
    try {
      return give_error(slot, base::make_error(base::Code::Internal, "exception", exception.what()));
    } catch (...) {
      return give_out_of_memory(slot);
    }
  } catch (...) {
    return give_error(slot, base::Error{base::Code::Internal, {}, {}, {}, 0});
  }
}

// For functions that answer no code: errors and exceptions end here.
template <typename Body>
void guarded_quietly(Body&& body) noexcept {
  try {
    body();
  } catch (...) {
  }
}

}  // namespace sandforge::capi

// Answers invalid_argument for a NULL pointer, naming it as the caller knows it.
#define SANDFORGE_NEEDS(pointer) \
  if ((pointer) == nullptr) return ::sandforge::capi::null_argument(#pointer)
