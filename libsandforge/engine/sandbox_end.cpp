// SPDX-License-Identifier: Apache-2.0
// How a sandbox ends, all on the loop thread. Whatever the cause, one tear-down follows, in this order:
//   operations get their verdict -> session closed -> worker killed, its exit seen, reaped -> files removed
// A failed create keeps its directory with the record, a destroyed sandbox keeps nothing but its tombstone.
#include <fmt/format.h>

#include "base/limits.hpp"
#include "engine/provision.hpp"
#include "engine/record.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {
namespace {

using base::Code;
using base::Error;

constexpr const char* kBootRemedy =
    "'sandforged doctor' checks the host; a damaged image is made again: 'sandforged image rm NAME', then 'image "
    "build'";

}  // namespace

void Sandbox::begin_destroy(const std::string& reason, const std::string& text) {
  if (phase_ == State::Destroying || phase_ == State::Destroyed) return;
  const auto self = shared_from_this();
  {
    const std::lock_guard lock(mutex_);
    // The tombstone tells the first cause: of a failed sandbox its failure.
    if (info_.failure.empty()) {
      info_.failure = text;
      info_.failure_reason = reason;
    }
    if (!created_ && !create_error_) {
      create_error_ = base::make_error(Code::Conflict, "destroyed", "sandbox was destroyed while it was being created",
                                       "create it again");
    }
  }
  move_to(State::Destroying);
  end_operations(wire::EndedBy::Killed, base::make_error(Code::Disconnected, reason,
                                                         fmt::format("sandbox \"{}\" was destroyed: {}", id_, text)));
  tear_down();
}

void Sandbox::fail(Error error, wire::EndedBy verdict) {
  if (phase_ != State::Requested && phase_ != State::Provisioning && phase_ != State::Ready) return;
  const auto self = shared_from_this();
  {
    const std::lock_guard lock(mutex_);
    info_.failure = error.message;
    info_.failure_reason = error.reason;
  }
  move_to(State::Error);
  core_->log(LogLevel::Warn, fmt::format("sandbox {}: {}", id_, error.message));
  Error gone = error;
  gone.code = Code::Disconnected;
  end_operations(verdict, gone);
  if (!created_) create_error_ = std::move(error);
  tear_down();
}

void Sandbox::end_operations(wire::EndedBy verdict, const Error& error) {
  // A copy: each operation takes itself off the list.
  const auto operations = operations_;
  for (const auto& operation : operations) operation->end_by_sandbox(verdict, error);
}

void Sandbox::on_worker_exit() {
  const auto self = shared_from_this();
  exit_watch_.reset();
  const std::string how = printable(worker_->describe_exit(), limits::kGuestLogTail);
  std::optional<Error> refusal = worker_->refusal();
  worker_.reset();
  if (tearing_down_) {
    if (describe_exit_in_failure_ && !how.empty()) {
      const std::lock_guard lock(mutex_);
      info_.failure += "; then " + how;
      if (create_error_) create_error_->message = info_.failure;
    }
    continue_tear_down();
    return;
  }
  if (phase_ == State::Ready) {
    fail(base::make_error(Code::GuestFault, "vm_crash", "the VM ended: " + how), wire::EndedBy::VmCrash);
  } else if (refusal) {
    // In its own words, with its own remedy: what is wrong is known, and it is not the guest.
    fail(base::make_error(refusal->code, printable(refusal->reason),
                          "the guest was not started: " + printable(refusal->message, limits::kGuestLogTail),
                          printable(refusal->remedy, limits::kGuestLogTail)),
         wire::EndedBy::VmCrash);
  } else if (!launch_again(how)) {
    fail(base::make_error(Code::GuestFault, "boot_failed", "the guest ended before it was ready: " + how, kBootRemedy),
         wire::EndedBy::VmCrash);
  }
}

void Sandbox::on_lost(Error error) {
  // A guest that ends closes its socket first and is seen to exit a moment later; only when it does not, the agent
  // alone is gone.
  lost_error_ = std::move(error);
  lost_timer_ = core_->loop().after(std::chrono::milliseconds(limits::kExitGraceMs), [this] { on_agent_lost(); });
}

void Sandbox::on_agent_lost() {
  const std::string why = "the agent in the guest is gone: " + printable(lost_error_->message);
  if (phase_ == State::Ready) {
    fail(base::make_error(Code::GuestFault, "agent_lost", why), wire::EndedBy::AgentLost);
  } else {
    describe_exit_in_failure_ = true;
    fail(base::make_error(Code::GuestFault, "boot_failed", why, kBootRemedy), wire::EndedBy::AgentLost);
  }
}

void Sandbox::tear_down() {
  if (tearing_down_) return;  // continue_tear_down looks at the phase again
  tearing_down_ = true;
  boot_timer_.reset();
  life_timer_.reset();
  lost_timer_.reset();
  guest_mounts_.reset();
  session_.reset();
  files_watch_.reset();
  if (files_) files_->stop();
  if (worker_) worker_->kill();
  continue_tear_down();
}

void Sandbox::continue_tear_down() {
  if (!tearing_down_ || provisioning_ || worker_) return;
  const bool everything = phase_ == State::Destroying;
  auto status = std::make_shared<base::Status>();
  core_->run_blocking(
      [self = shared_from_this(), everything, status] {
        const auto directory = self->core_->sandbox_directory(self->id_);
        if (everything) {
          *status = remove_sandbox_directory(directory);
        } else {
          *status = keep_record_only(directory);
          if (*status) *status = write_record(directory, self->info());
        }
      },
      [self = shared_from_this(), everything, status] {
        if (!*status) {
          self->core_->log(LogLevel::Error, fmt::format("sandbox {}: {}", self->id_, status->error().message));
        }
        self->finish_tear_down(everything);
      });
}

void Sandbox::finish_tear_down(bool everything) {
  tearing_down_ = false;
  // Destroyed while only the remains of a failure were being cleared: once more, for the rest.
  if (phase_ == State::Destroying && !everything) return tear_down();
  if (create_error_) complete_create(Error(*create_error_));
  if (phase_ != State::Destroying) return;
  // First the registry, then the state: who sees `destroyed` may use the id again.
  if (gone_) gone_(shared_from_this());
  gone_ = nullptr;
  move_to(State::Destroyed);
  core_->log(LogLevel::Info, fmt::format("sandbox {}: destroyed ({})", id_, info_.failure_reason));
  changed_.notify_all();
}

}  // namespace sandforge::engine
