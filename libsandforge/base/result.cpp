// SPDX-License-Identifier: Apache-2.0
#include "base/result.hpp"

#include <array>
#include <cstring>

namespace sandforge::base {

const char* code_name(Code code) noexcept {
  static constexpr std::array<const char*, kCodeCount> kNames = {
      "ok",           "invalid_argument", "unsupported", "not_found",   "denied",  "conflict", "busy",
      "disconnected", "timed_out",        "exhausted",   "guest_fault", "corrupt", "internal",
  };
  const auto index = static_cast<std::uint32_t>(code);
  return index < kCodeCount ? kNames[index] : "unknown";
}

Error Error::context(std::string_view what) && {
  message.insert(0, std::string(what) + ": ");
  return std::move(*this);
}

Error Error::with_remedy(std::string text) && {
  remedy = std::move(text);
  return std::move(*this);
}

Error make_error(Code code, std::string reason, std::string message, std::string remedy) {
  if (reason.empty()) reason = code_name(code);
  return Error{code, std::move(reason), std::move(message), std::move(remedy), 0};
}

Code code_of_errno(int number) noexcept {
  switch (number) {
    case EINVAL:
    case ENAMETOOLONG:
    case E2BIG: return Code::InvalidArgument;
    case ENOENT: return Code::NotFound;
    case EACCES:
    case EPERM:
    case EROFS: return Code::Denied;
    case EEXIST:
    case ENOTDIR:
    case EISDIR:
    case ENOTEMPTY:
    case ELOOP:
    case ETXTBSY: return Code::Conflict;
    case EAGAIN:
    case EBUSY: return Code::Busy;
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENOTCONN: return Code::Disconnected;
    case ETIMEDOUT: return Code::TimedOut;
    case ENOMEM:
    case ENOSPC:
    case EDQUOT:
    case EMFILE:
    case ENFILE:
    case EFBIG: return Code::Exhausted;
    case ENOSYS:
    case EOPNOTSUPP: return Code::Unsupported;
    default: return Code::Internal;
  }
}

namespace {

// What helps against a full host, whatever ran into it.
const char* remedy_of_errno(int number) noexcept {
  switch (number) {
    case ENOSPC: return "free some disk space";
    case EDQUOT: return "free some disk space, or raise the quota";
    case ENOMEM: return "free some memory";
    case EMFILE: return "raise the limit of open files of this process (ulimit -n)";
    case ENFILE: return "raise the limit of open files of this host (sysctl fs.file-max)";
    default: return "";
  }
}

}  // namespace

Error os_error(std::string_view what, int number) {
  const Code code = code_of_errno(number);
  Error error = make_error(code, {}, std::string(what) + ": " + std::strerror(number), remedy_of_errno(number));
  error.os_errno = number;
  return error;
}

}  // namespace sandforge::base
