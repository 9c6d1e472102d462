// SPDX-License-Identifier: Apache-2.0
// How a sandbox comes to be, all on the loop thread but the provisioning:
//   start -> [thread: provision] -> on_provisioned -> launch -> (guest boots, agent says hello) -> on_ready
#include <fmt/format.h>

#include <ctime>

#include "base/limits.hpp"
#include "engine/provision.hpp"
#include "engine/record.hpp"
#include "engine/sandbox.hpp"
#include "wire/boot_words.hpp"

namespace sandforge::engine {
namespace {

using base::Code;
using std::chrono::milliseconds;

}  // namespace

void Sandbox::start() {
  if (phase_ != State::Requested) return;  // destroyed before it began
  move_to(State::Provisioning);
  provisioning_ = true;
  auto result = std::make_shared<base::Result<Provisioned>>(Provisioned{});
  core_->run_blocking(
      [self = shared_from_this(), result] { *result = provision(*self->core_, self->info(), self->uses_images_); },
      [self = shared_from_this(), result] { self->on_provisioned(std::move(*result)); });
}

void Sandbox::on_provisioned(base::Result<Provisioned> result) {
  provisioning_ = false;
  if (phase_ != State::Provisioning) return continue_tear_down();
  if (!result) return fail(std::move(result).error(), wire::EndedBy::VmCrash);
  if (uses_images_) {
    auto files = FileService::create();
    if (!files) return fail(std::move(files).error(), wire::EndedBy::VmCrash);
    files_ = std::move(files).value();
  }
  if (!spec_.mounts.empty()) return serve_mounts(std::make_shared<Provisioned>(std::move(result).value()));
  if (auto status = launch(*result); !status) fail(std::move(status).error(), wire::EndedBy::VmCrash);
}

base::Status Sandbox::launch(Provisioned& provisioned) {
  {
    const std::lock_guard lock(mutex_);
    info_.image_digest = provisioned.image_digest;
  }
  plan_ = provisioned.plan;
  if (files_) plan_.file_server = files_->guest_end();
  return start_guest();
}

base::Status Sandbox::start_guest() {
  ++launches_;
  SANDFORGE_TRY(worker_, backend_.launch(plan_));
  exit_watch_ = core_->loop().on_readable(worker_->exited_fd(), [this] { on_worker_exit(); });
  boot_timer_ = core_->loop().after(milliseconds(limits::kBootTimeoutMs), [this] { on_boot_timeout(); });
  SANDFORGE_TRY(base::UniqueFd socket, worker_->connect());
  agent_client::WelcomeFields welcome{random_bytes(64), hostname_of(id_), random_hex(32)};
  session_ = agent_client::start_session(core_->loop(), std::move(socket), std::move(welcome), *this);
  return {};
}

// The word stands in what the guest wrote to its console: a guest that lies about it is started a few times for
// nothing.
bool Sandbox::launch_again(const std::string& how_it_ended) {
  const bool said_hello = guest_mounts_ != nullptr;
  if (said_hello || launches_ >= limits::kLaunchesMax) return false;
  if (how_it_ended.find(wire::kBadTimer) == std::string::npos) return false;
  core_->log(LogLevel::Warn, fmt::format("sandbox {}: started anew: {}", id_, how_it_ended));
  session_.reset();
  lost_timer_.reset();
  lost_error_.reset();
  boot_timer_.reset();
  if (auto status = start_guest(); !status) fail(std::move(status).error(), wire::EndedBy::VmCrash);
  return true;
}

void Sandbox::on_boot_timeout() {
  describe_exit_in_failure_ = true;
  fail(base::make_error(Code::TimedOut, "boot_timeout",
                        fmt::format("the guest was not ready within {} s", limits::kBootTimeoutMs / 1000)),
       wire::EndedBy::AgentLost);
}

void Sandbox::on_ready(const wire::Hello& hello) {
  if (phase_ != State::Provisioning) return;
  if (files_) files_->guest_has_its_end();  // not before: the guest may have to be started again
  {
    const std::lock_guard lock(mutex_);
    info_.guest_hello_ns = hello.monotonic_ns;
  }
  guest_mounts_ = std::make_unique<GuestMounts>(*session_, spec_.mounts,
                                                [this](base::Status status) { on_mounted(std::move(status)); });
  guest_mounts_->start();
}

void Sandbox::on_mounted(base::Status status) {
  const auto self = shared_from_this();
  guest_mounts_.reset();
  if (phase_ != State::Provisioning) return;
  if (!status) return fail(std::move(status).error(), wire::EndedBy::VmCrash);
  boot_timer_.reset();
  life_timer_ = core_->loop().after(std::chrono::seconds(spec_.timeout_sec), [this] {
    begin_destroy("expired", fmt::format("its life of {} s (timeout_sec) was over", spec_.timeout_sec));
  });
  {
    const std::lock_guard lock(mutex_);
    info_.expires_at = static_cast<std::int64_t>(std::time(nullptr)) + spec_.timeout_sec;
    info_.ready_after_ns =
        static_cast<std::uint64_t>(std::chrono::nanoseconds(std::chrono::steady_clock::now() - requested_at_).count());
    for (const Mount& mount : spec_.mounts) {
      last_mount_ = static_cast<std::uint32_t>(mounts_.size());
      mounts_.push_back({mount, last_mount_, {}});
    }
  }
  move_to(State::Ready);
  // Without its record the sandbox would still work, but not be found again: said, not fatal.
  if (auto written = write_record(core_->sandbox_directory(id_), info()); !written) {
    core_->log(LogLevel::Warn, fmt::format("sandbox {}: {}", id_, written.error().message));
  }
  core_->log(LogLevel::Info,
             fmt::format("sandbox {}: ready after {} ms ({}, {})", id_, info_.ready_after_ns / 1'000'000, spec_.backend,
                         isolation_name(info_.isolation)));
  complete_create({});
}

void Sandbox::complete_create(base::Status status) {
  std::shared_ptr<Notifier> notifier;
  {
    const std::lock_guard lock(mutex_);
    if (created_) return;
    created_ = std::move(status);
    notifier = std::move(created_notifier_);
  }
  changed_.notify_all();
  if (notifier) notifier->call();
}

}  // namespace sandforge::engine
