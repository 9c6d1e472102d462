// SPDX-License-Identifier: Apache-2.0
#include "engine/guest_mounts.hpp"

#include <fmt/format.h>

namespace sandforge::engine {

std::string mount_request(std::uint32_t index, const Mount& mount) {
  wire::MountRequest request;
  request.index = index;
  request.read_only = mount.read_only ? 1 : 0;
  request.guest_path = mount.guest_path;
  return wire::encode_open(wire::Operation::Mount, request);
}

base::Error mount_error(const Mount& mount, const wire::ResultHeader& result) {
  base::Error error = base::make_error(result.code, "mount_failed",
                                       fmt::format("mount \"{}\": the guest cannot mount it: {}",
                                                   printable(mount.guest_path), printable(result.message)),
                                       "look at the guest path: every component must be a directory, or not there yet");
  error.os_errno = result.os_errno;
  return error;
}

void GuestMounts::next() {
  if (at_ == mounts_.size()) return finish({});
  auto stream = session_.open(mount_request(static_cast<std::uint32_t>(at_), mounts_[at_]), *this);
  if (!stream) return finish(std::move(stream).error());
  stream_ = std::move(stream).value();
}

void GuestMounts::finish(base::Status status) {
  const auto done = std::move(done_);
  done(std::move(status));
}

void GuestMounts::on_result(base::Result<wire::ResultHeader> result) {
  stream_.reset();
  if (!result) return;  // the session is lost, and the sandbox hears of it
  if (result->code != base::Code::Ok) return finish(mount_error(mounts_[at_], *result));
  ++at_;
  next();
}

}  // namespace sandforge::engine
