// SPDX-License-Identifier: Apache-2.0
#include "engine/mount_paths.hpp"

#include <fmt/format.h>

#include <array>

#include "base/limits.hpp"
#include "policy/host_path.hpp"

namespace sandforge::engine {
namespace {

base::Error invalid(std::string message, std::string remedy) {
  return base::make_error(base::Code::InvalidArgument, "invalid_spec", std::move(message), std::move(remedy));
}

bool has_dot_dot(std::string_view path) {
  for (std::size_t begin = 0; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    if (path.substr(begin, end - begin) == "..") return true;
    begin = end + 1;
  }
  return false;
}

}  // namespace

base::Result<std::string> check_mount_target(std::string_view guest_path) {
  constexpr const char* kUseAnother = "use a directory of its own, such as /workspace";
  if (auto status = check_guest_path(guest_path); !status) {
    return invalid(std::move(status.error().message), "name an absolute path of the guest, such as /workspace");
  }
  if (has_dot_dot(guest_path)) {
    return invalid(fmt::format("guest path \"{}\" has a component \"..\"", printable(guest_path)),
                   "write the path without \"..\"");
  }
  std::string path = policy::cleaned(guest_path);
  if (path == "/") return invalid("guest path \"/\" would hide the whole guest", kUseAnother);
  for (const std::string_view kernel : {"/proc", "/sys", "/dev"}) {
    if (policy::is_within(path, kernel)) {
      return invalid(fmt::format("guest path \"{}\" is in {}, which is the guest's kernel", printable(path), kernel),
                     kUseAnother);
    }
  }
  return path;
}

base::Status check_mounts(std::vector<Mount>& mounts) {
  // The count first: a thousand of them cost nothing.
  if (mounts.size() > limits::kMountsMax) {
    return invalid(fmt::format("spec: {} mounts, but a sandbox has at most {}", mounts.size(), limits::kMountsMax),
                   "mount a directory that holds several of them");
  }
  for (std::size_t i = 0; i < mounts.size(); ++i) {
    if (auto status = policy::check_host_path(mounts[i].host_path); !status) {
      const base::Error& error = status.error();
      return invalid(fmt::format("spec: mounts[{}].host_path: {}", i, error.message), error.remedy);
    }
    auto target = check_mount_target(mounts[i].guest_path);
    if (!target) return std::move(target.error()).context(fmt::format("spec: mounts[{}].guest_path", i));
    mounts[i].guest_path = std::move(target).value();
    for (std::size_t j = 0; j < i; ++j) {
      if (!policy::is_within(mounts[i].guest_path, mounts[j].guest_path) &&
          !policy::is_within(mounts[j].guest_path, mounts[i].guest_path)) {
        continue;
      }
      return invalid(fmt::format("spec: mounts[{}].guest_path: \"{}\" overlaps \"{}\" of mounts[{}]", i,
                                 printable(mounts[i].guest_path), printable(mounts[j].guest_path), j),
                     "give each mount a path of its own, none within another");
    }
  }
  return {};
}

}  // namespace sandforge::engine
