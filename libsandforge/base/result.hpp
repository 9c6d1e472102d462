// SPDX-License-Identifier: Apache-2.0
// Error and Result: how every fallible function of the library answers. Nothing throws on purpose.
#pragma once

#include <cerrno>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>

namespace sandforge::base {

// What the caller should do. Numbers are those of sandforge.h and permanent (libsandforge/error_codes).
enum class Code : std::uint32_t {
  Ok = 0,
  InvalidArgument = 1,
  Unsupported = 2,
  NotFound = 3,
  Denied = 4,
  Conflict = 5,
  Busy = 6,
  Disconnected = 7,
  TimedOut = 8,
  Exhausted = 9,
  GuestFault = 10,
  Corrupt = 11,
  Internal = 12,
};
inline constexpr std::uint32_t kCodeCount = 13;

// The name in error_codes, "unknown" beyond them. Static storage.
const char* code_name(Code code) noexcept;

struct [[nodiscard]] Error {
  Code code = Code::Internal;
  std::string reason;   // stable machine word, e.g. "image_missing"; empty means the name of the code
  std::string message;  // one sentence for people
  std::string remedy;   // what to do about it, may be empty
  int os_errno = 0;     // of the failed call, 0 when there was none
  std::string rule{};   // of the policy that refused, else empty

  // Puts "what: " before the message. Used once a layer.
  Error context(std::string_view what) &&;
  Error with_remedy(std::string text) &&;
};

// An error with a text; `reason` empty means the name of the code.
Error make_error(Code code, std::string reason, std::string message, std::string remedy = {});
// Of a failed system call: "what: strerror", code chosen by the number (ENOENT is not_found, EACCES denied, …).
Error os_error(std::string_view what, int number = errno);
Code code_of_errno(int number) noexcept;

template <typename T>
class [[nodiscard]] Result {
 public:
  Result(T value) : state_(std::in_place_index<0>, std::move(value)) {}
  Result(Error error) : state_(std::in_place_index<1>, std::move(error)) {}

  explicit operator bool() const noexcept { return state_.index() == 0; }
  // Precondition of the four: operator bool says so.
  T& value() & { return *std::get_if<0>(&state_); }
  const T& value() const& { return *std::get_if<0>(&state_); }
  T&& value() && { return std::move(*std::get_if<0>(&state_)); }
  Error& error() & { return *std::get_if<1>(&state_); }
  const Error& error() const& { return *std::get_if<1>(&state_); }
  Error&& error() && { return std::move(*std::get_if<1>(&state_)); }

  T* operator->() { return std::get_if<0>(&state_); }
  T& operator*() & { return value(); }

 private:
  std::variant<T, Error> state_;
};

template <>
class [[nodiscard]] Result<void> {
 public:
  Result() = default;
  Result(Error error) : error_(std::move(error)), failed_(true) {}

  explicit operator bool() const noexcept { return !failed_; }
  Error& error() & { return error_; }
  const Error& error() const& { return error_; }
  Error&& error() && { return std::move(error_); }

 private:
  Error error_;
  bool failed_ = false;
};

using Status = Result<void>;

}  // namespace sandforge::base

#define SANDFORGE_CONCAT_(a, b) a##b
#define SANDFORGE_CONCAT(a, b) SANDFORGE_CONCAT_(a, b)
#define SANDFORGE_TRY_(temporary, declaration, expression) \
  auto temporary = (expression);                           \
  if (!temporary) return std::move(temporary).error();     \
  declaration = std::move(temporary).value()
// SANDFORGE_TRY(auto x, f());  hands the error of f up, or goes on with its value.
#define SANDFORGE_TRY(declaration, expression) \
  SANDFORGE_TRY_(SANDFORGE_CONCAT(try_result_, __LINE__), declaration, expression)
// The same for Status.
#define SANDFORGE_TRY_STATUS(expression) \
  if (auto try_status = (expression); !try_status) return std::move(try_status).error()
