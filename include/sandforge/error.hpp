// SPDX-License-Identifier: Apache-2.0
// Error and its subclasses: how every function of the C++ API fails.
//
// The rule, written once: a function that cannot do what its name says throws a subclass of sandforge::Error (or
// std::bad_alloc), and has changed nothing that its description does not name. Destructors and move operations never
// throw. "Nothing yet" is no failure: functions with a time limit answer std::optional, empty when the time ran out.
// A command that fails, times out or cannot be started is a result, not an Error.
#pragma once

#include <sandforge/sandforge.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace sandforge {

// what() is one sentence for people. Catch the subclass whose remedy your program knows, Error for the rest.
class Error : public std::runtime_error {
 public:
  Error(sandforge_code code, std::string reason, const std::string& message, std::string remedy = {}, int os_errno = 0,
        std::string rule = {})
      : std::runtime_error(message),
        code_(code),
        os_errno_(os_errno),
        texts_(std::make_shared<const Texts>(Texts{std::move(reason), std::move(remedy), std::move(rule)})) {}

  // What the caller should do: one of SANDFORGE_INVALID_ARGUMENT … SANDFORGE_INTERNAL.
  sandforge_code code() const noexcept { return code_; }
  // A stable machine word, finer than the code: "id_taken", "image_missing", …
  const std::string& reason() const noexcept { return texts_->reason; }
  // What to do about it; empty when there is nothing to say.
  const std::string& remedy() const noexcept { return texts_->remedy; }
  // The rule of the policy that refused, "limits.cpu"; empty when no policy did.
  const std::string& rule() const noexcept { return texts_->rule; }
  // errno of the failed host or guest call, 0 when there was none.
  int os_errno() const noexcept { return os_errno_; }

 private:
  struct Texts {
    std::string reason;
    std::string remedy;
    std::string rule;
  };
  sandforge_code code_;
  int os_errno_;
  std::shared_ptr<const Texts> texts_;  // shared, so that copying an exception cannot throw
};

// One class a code. A code of a later library version arrives as plain Error.
template <sandforge_code kCode>
class ErrorOf : public Error {
 public:
  explicit ErrorOf(std::string reason, const std::string& message, std::string remedy = {}, int os_errno = 0,
                   std::string rule = {})
      : Error(kCode, std::move(reason), message, std::move(remedy), os_errno, std::move(rule)) {}
};
using InvalidArgument = ErrorOf<SANDFORGE_INVALID_ARGUMENT>;  // fix the call
using Unsupported = ErrorOf<SANDFORGE_UNSUPPORTED>;           // not on this host or version: see remedy()
using NotFound = ErrorOf<SANDFORGE_NOT_FOUND>;                // no such sandbox, image, file
using Denied = ErrorOf<SANDFORGE_DENIED>;                     // permissions or policy
using Conflict = ErrorOf<SANDFORGE_CONFLICT>;                 // exists, or is in a state that forbids it
using Busy = ErrorOf<SANDFORGE_BUSY>;                         // try again soon
using Disconnected = ErrorOf<SANDFORGE_DISCONNECTED>;         // the sandbox or its agent is gone
using TimedOut = ErrorOf<SANDFORGE_TIMED_OUT>;                // not within the time given
using Exhausted = ErrorOf<SANDFORGE_EXHAUSTED>;               // a limit, memory, disk or capacity is used up
using GuestFault = ErrorOf<SANDFORGE_GUEST_FAULT>;            // the guest refused, failed or broke the protocol
using Corrupt = ErrorOf<SANDFORGE_CORRUPT>;                   // stored data is damaged
using Internal = ErrorOf<SANDFORGE_INTERNAL>;                 // our bug, or an unexpected failure of the host

namespace detail {

// Owns the error out-parameter of one C call.
class Call {
 public:
  Call() = default;
  Call(const Call&) = delete;
  Call& operator=(const Call&) = delete;
  ~Call() { sandforge_error_free(error_); }

  sandforge_error** slot() noexcept { return &error_; }
  // The machine word of the error that was stored, "" without one.
  std::string_view reason() const noexcept { return error_ == nullptr ? "" : sandforge_error_reason(error_); }
  // Throws the subclass of `code` unless it is SANDFORGE_OK.
  void check(sandforge_code code) const {
    if (code != SANDFORGE_OK) raise(code);
  }

 private:
  [[noreturn]] void raise(sandforge_code code) const {
    std::string reason = sandforge_code_name(code);
    std::string message = reason;
    std::string remedy;
    int os_errno = 0;
    if (error_ != nullptr) {
      reason = sandforge_error_reason(error_);
      message = sandforge_error_message(error_);
      remedy = sandforge_error_remedy(error_);
      os_errno = static_cast<int>(sandforge_error_errno(error_));
    }
    switch (code) {
      case SANDFORGE_INVALID_ARGUMENT:
        throw InvalidArgument(std::move(reason), message, std::move(remedy), os_errno, sandforge_error_rule(error_));
      case SANDFORGE_UNSUPPORTED: throw Unsupported(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_NOT_FOUND:
        throw NotFound(std::move(reason), message, std::move(remedy), os_errno, sandforge_error_rule(error_));
      case SANDFORGE_DENIED:
        throw Denied(std::move(reason), message, std::move(remedy), os_errno, sandforge_error_rule(error_));
      case SANDFORGE_CONFLICT: throw Conflict(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_BUSY: throw Busy(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_DISCONNECTED: throw Disconnected(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_TIMED_OUT: throw TimedOut(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_EXHAUSTED: throw Exhausted(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_GUEST_FAULT: throw GuestFault(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_CORRUPT: throw Corrupt(std::move(reason), message, std::move(remedy), os_errno);
      case SANDFORGE_INTERNAL: throw Internal(std::move(reason), message, std::move(remedy), os_errno);
      default: throw Error(code, std::move(reason), message, std::move(remedy), os_errno);
    }
  }

  sandforge_error* error_ = nullptr;
};

// The text as C wants it. A NUL inside would silently cut it there, so it is refused here.
inline const char* c_text(const std::string& text, std::string_view what) {
  if (text.find('\0') != std::string::npos) {
    throw InvalidArgument("embedded_nul", std::string(what) + " contains a NUL byte",
                          "remove the NUL byte; the C strings of the guest cannot carry one");
  }
  return text.c_str();
}
// The same where empty means the default.
inline const char* c_text_or_default(const std::string& text, std::string_view what) {
  return text.empty() ? nullptr : c_text(text, what);
}
inline std::string text_of(const char* text) { return text == nullptr ? std::string() : std::string(text); }

// unique_ptr with a C free function: Owned<sandforge_engine, sandforge_engine_free>.
template <auto kFree>
struct Freer {
  template <typename T>
  void operator()(T* object) const noexcept {
    kFree(object);
  }
};
template <typename T, auto kFree>
using Owned = std::unique_ptr<T, Freer<kFree>>;

}  // namespace detail
}  // namespace sandforge
