// SPDX-License-Identifier: Apache-2.0
// Mounts of a sandbox: those of its spec are served before the guest starts and mounted before it is ready; others come
// and go on callers' threads, one at a time:
//   attach: rules, policy -> file server serves directory `index` -> the guest's agent binds it to its place
//   detach: the agent takes it away -> the file server lets go of the directory
#include <fmt/format.h>

#include "base/limits.hpp"
#include "engine/file_operation.hpp"
#include "engine/guest_mounts.hpp"
#include "engine/host_directory.hpp"
#include "engine/mount_paths.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {
namespace {

using base::Code;

base::Error no_mounts() {
  return base::make_error(Code::Unsupported, "mounts_unsupported", "this backend's guests have no mounts",
                          "use a backend that runs a virtual machine");
}

// As it is written: the policy, which looks at the directories themselves, sees only those of a spec together.
base::Error mounted_twice(const Mount& other) {
  return base::make_error(Code::InvalidArgument, "invalid_spec",
                          fmt::format("mount: host_path \"{}\" is mounted already, at \"{}\"",
                                      printable(other.host_path), printable(other.guest_path)),
                          "use the one mount, or link to it inside the guest");
}

}  // namespace

std::vector<MountInfo> Sandbox::mounts() const {
  const std::lock_guard lock(mutex_);
  return mounts_;
}

void Sandbox::watch_file_server() {
  if (files_watch_ || tearing_down_) return;
  files_watch_ = core_->loop().on_readable(files_->exited_fd(), [this] { on_files_exit(); });
}

// The guest hears EIO from now on; the sandbox lives, and tells which mounts are gone.
void Sandbox::on_files_exit() {
  files_watch_.reset();
  files_->stop();
  const std::lock_guard lock(mutex_);
  for (MountInfo& mount : mounts_) mount.failure = "its file server has ended";
  core_->log(LogLevel::Warn, fmt::format("sandbox {}: the file server has ended; its mounts are lost", id_));
}

std::string Sandbox::break_mounts() {
  if (!files_watch_) return {};
  std::string names;
  for (const MountInfo& mount : mounts()) names += (names.empty() ? "" : ", ") + printable(mount.mount.guest_path);
  core_->log(LogLevel::Warn,
             fmt::format("sandbox {}: a command does not end; it may wait for a mount ({}), whose file server is "
                         "stopped now",
                         id_, names));
  files_->stop();
  return names;
}

// Of the spec, before the launch: the server first, then the directories, which may take their time.
void Sandbox::serve_mounts(std::shared_ptr<Provisioned> provisioned) {
  if (!files_) return fail(no_mounts(), wire::EndedBy::VmCrash);
  provisioning_ = true;
  auto status = std::make_shared<base::Status>();
  core_->run_blocking(
      [self = shared_from_this(), provisioned, status] {
        *status = self->files_->start(self->core_->directories().helpers, provisioned->mount_directories[0].get());
        for (std::uint32_t i = 0; i < self->spec_.mounts.size() && *status; ++i) {
          const Mount& mount = self->spec_.mounts[i];
          *status = self->files_->serve(i, provisioned->mount_directories[i].get(), mount.read_only);
          if (!*status) *status = std::move(*status).error().context("mount " + printable(mount.host_path));
        }
      },
      [self = shared_from_this(), provisioned, status] {
        self->provisioning_ = false;
        if (self->phase_ != State::Provisioning) return self->continue_tear_down();
        if (*status) self->watch_file_server();
        if (*status) *status = self->launch(*provisioned);
        if (!*status) self->fail(std::move(*status).error(), wire::EndedBy::VmCrash);
      });
}

// Round and round: a number comes back as late as it can, since a guest believes for a second what it led to.
std::uint32_t Sandbox::free_mount_index() {
  const auto all = mounts();
  const auto is_taken = [&](std::uint32_t index) {
    return std::ranges::any_of(all, [&](const MountInfo& mount) { return mount.index == index; });
  };
  do {
    last_mount_ = (last_mount_ + 1) % limits::kMountsMax;
  } while (is_taken(last_mount_));
  return last_mount_;
}

base::Status Sandbox::attach_mount(Mount given) {
  SANDFORGE_TRY_STATUS(check_ready());
  SANDFORGE_TRY_STATUS(core_->may_block());
  const std::lock_guard one_at_a_time(mounting_);
  std::vector<Mount> all;
  for (const MountInfo& other : mounts()) {
    if (other.mount.host_path == given.host_path) return mounted_twice(other.mount);
    all.push_back(other.mount);
  }
  all.push_back(std::move(given));
  SANDFORGE_TRY_STATUS(check_mounts(all));
  const policy::Verdict count = policy::evaluate_mount_count(core_->policy(), all.size());
  if (!count.allowed) return policy::to_error(count, "mounts");
  const Mount& mount = all.back();
  SANDFORGE_TRY(const base::UniqueFd directory, open_host_directory(core_->policy(), mount));
  if (!files_) return no_mounts();
  SANDFORGE_TRY_STATUS(files_->start(core_->directories().helpers, directory.get()));
  SANDFORGE_TRY_STATUS(core_->call([this] {
    watch_file_server();
    return base::Status();
  }));
  const std::uint32_t index = free_mount_index();
  SANDFORGE_TRY_STATUS(files_->serve(index, directory.get(), mount.read_only));
  auto mounted = call_guest(shared_from_this(), mount_request(index, mount), mount.guest_path);
  if (!mounted) {
    (void)files_->withdraw(index);
    return std::move(mounted).error().context("mount");
  }
  const std::lock_guard lock(mutex_);
  mounts_.push_back({mount, index, {}});
  return {};
}

base::Status Sandbox::detach_mount(const std::string& guest_path) {
  SANDFORGE_TRY_STATUS(check_ready());
  SANDFORGE_TRY_STATUS(core_->may_block());
  SANDFORGE_TRY(const std::string path, check_mount_target(guest_path));
  const std::lock_guard one_at_a_time(mounting_);
  const auto all = mounts();
  const auto at = std::ranges::find_if(all, [&](const MountInfo& one) { return one.mount.guest_path == path; });
  if (at == all.end()) {
    return base::make_error(Code::NotFound, "no_mount", fmt::format("nothing is mounted at \"{}\"", printable(path)),
                            "list the sandbox's mounts");
  }
  wire::PathRequest request;
  request.path = path;
  SANDFORGE_TRY_STATUS(call_guest(shared_from_this(), wire::encode_open(wire::Operation::Unmount, request), path));
  if (at->failure.empty()) SANDFORGE_TRY_STATUS(files_->withdraw(at->index));
  const std::lock_guard lock(mutex_);
  std::erase_if(mounts_, [&](const MountInfo& one) { return one.index == at->index; });
  return {};
}

}  // namespace sandforge::engine
