// SPDX-License-Identifier: Apache-2.0
// Mounts of a sandbox: those of its spec are served before the guest starts and mounted before it is ready; others come
// and go on callers' threads, one at a time:
//   attach: rules, policy -> file server serves directory `index` -> the guest's agent binds it to its place
//   detach: the agent takes it away -> the file server lets go of the directory
#include <fmt/format.h>

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

base::Status Sandbox::start_file_server(int directory) {
  if (!files_) return no_mounts();
  if (files_->exited_fd() >= 0) return {};
  SANDFORGE_TRY_STATUS(files_->start(core_->directories().helpers, directory));
  files_watch_ = core_->loop().on_readable(files_->exited_fd(), [this] { on_files_exit(); });
  return {};
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

// Of the spec, before the launch: the server first, on this thread, then the directories, which may take their time.
void Sandbox::serve_mounts(std::shared_ptr<Provisioned> provisioned) {
  if (auto started = start_file_server(provisioned->mount_directories.front().get()); !started)
    return fail(std::move(started).error(), wire::EndedBy::VmCrash);
  provisioning_ = true;
  auto status = std::make_shared<base::Status>();
  core_->run_blocking(
      [self = shared_from_this(), provisioned, status] {
        for (std::uint32_t i = 0; i < self->spec_.mounts.size() && *status; ++i) {
          const Mount& mount = self->spec_.mounts[i];
          *status = self->files_->serve(i, provisioned->mount_directories[i].get(), mount.read_only);
          if (!*status) *status = std::move(*status).error().context("mount " + printable(mount.host_path));
        }
      },
      [self = shared_from_this(), provisioned, status] {
        self->provisioning_ = false;
        if (self->phase_ != State::Provisioning) return self->continue_tear_down();
        if (*status) *status = self->launch(*provisioned);
        if (!*status) self->fail(std::move(*status).error(), wire::EndedBy::VmCrash);
      });
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
  SANDFORGE_TRY_STATUS(core_->call([this, &directory] { return start_file_server(directory.get()); }));
  const std::uint32_t index = next_mount_++;
  SANDFORGE_TRY_STATUS(files_->serve(index, directory.get(), mount.read_only));
  const auto asked = std::make_shared<FileOperation>(shared_from_this(), Operation::Kind::Call,
                                                     mount_request(index, mount), mount.guest_path);
  base::Status done = asked->begin();
  if (done) {
    if (auto result = asked->wait_result(); !result) done = std::move(result).error();
  }
  if (!done) {
    (void)files_->withdraw(index);
    return std::move(done).error().context("mount");
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
  const auto asked = std::make_shared<FileOperation>(shared_from_this(), Operation::Kind::Call,
                                                     wire::encode_open(wire::Operation::Unmount, request), path);
  SANDFORGE_TRY_STATUS(asked->begin());
  SANDFORGE_TRY([[maybe_unused]] const auto result, asked->wait_result());
  if (at->failure.empty()) SANDFORGE_TRY_STATUS(files_->withdraw(at->index));
  const std::lock_guard lock(mutex_);
  std::erase_if(mounts_, [&](const MountInfo& one) { return one.index == at->index; });
  return {};
}

}  // namespace sandforge::engine
