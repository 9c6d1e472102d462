// SPDX-License-Identifier: Apache-2.0
// What callers see of a sandbox, and its operations. Its birth is in sandbox_create.cpp, its end in sandbox_end.cpp.
#include "engine/sandbox.hpp"

#include <fmt/format.h>

#include <ctime>

namespace sandforge::engine {
namespace {

using base::Code;

SandboxSpec with_backend(SandboxSpec spec, const BackendChoice& choice) {
  spec.backend = choice.backend->name();
  return spec;
}

}  // namespace

Sandbox::Sandbox(std::shared_ptr<Core> core, SandboxSpec spec, BackendChoice choice, GoneFn gone)
    : core_(std::move(core)),
      spec_(with_backend(std::move(spec), choice)),
      id_(spec_.id),
      backend_(*choice.backend),
      uses_images_(choice.probe.uses_images),
      gone_(std::move(gone)) {
  info_.spec = spec_;
  info_.isolation = choice.probe.isolation;
  info_.created_at = static_cast<std::int64_t>(std::time(nullptr));
}

SandboxInfo Sandbox::info() const {
  const std::lock_guard lock(mutex_);
  return info_;
}

base::Status Sandbox::check_ready() const {
  if (core_->closed()) return Core::closed_error();
  const std::lock_guard lock(mutex_);
  if (phase_ == State::Ready) return {};
  const std::string why = info_.failure.empty() ? "" : ": " + info_.failure;
  if (phase_ == State::Destroying || phase_ == State::Destroyed) {
    return base::make_error(Code::Disconnected, "destroyed", fmt::format("sandbox \"{}\" is destroyed{}", id_, why));
  }
  return base::make_error(Code::Conflict, "not_ready",
                          fmt::format("sandbox \"{}\" is in state {}{}", id_, state_name(info_.state), why),
                          phase_ == State::Error ? "destroy it and create another" : "wait until it is ready");
}

base::Status Sandbox::wait_created(Timeout timeout) {
  if (core_->closed()) return Core::closed_error();
  std::unique_lock lock(mutex_);
  const auto answered = [this] { return created_.has_value(); };
  if (timeout != 0 && !answered()) {
    lock.unlock();
    SANDFORGE_TRY_STATUS(core_->may_block());
    lock.lock();
  }
  if (is_for_ever(timeout))
    changed_.wait(lock, answered);
  else if (!changed_.wait_for(lock, std::chrono::milliseconds(timeout), answered)) {
    return base::make_error(Code::TimedOut, "not_yet", fmt::format("sandbox \"{}\" is not ready yet", id_));
  }
  return *created_;
}

void Sandbox::notify_created(std::shared_ptr<Notifier> notifier) {
  const std::lock_guard lock(mutex_);
  created_notifier_ = std::move(notifier);
}

base::Status Sandbox::destroy() {
  SANDFORGE_TRY_STATUS(core_->may_block());
  destroy_begin("destroyed", "destroyed on request");
  wait_destroyed();
  return {};
}

void Sandbox::destroy_begin(std::string reason, std::string text) {
  (void)core_->post([self = shared_from_this(), reason = std::move(reason), text = std::move(text)] {
    self->begin_destroy(reason, text);
  });
}

void Sandbox::wait_destroyed() {
  std::unique_lock lock(mutex_);
  changed_.wait(lock, [this] { return phase_ == State::Destroyed; });
}

void Sandbox::open(const std::shared_ptr<Operation>& operation) {
  auto status = check_ready();
  if (status && lost_error_) status = base::Error(*lost_error_);
  if (!status) {
    operation->on_failed(std::move(status).error());
    return;
  }
  operations_.insert(operation);
  switch (operation->kind()) {
    case Operation::Kind::Exec: ++activity_.execs; break;
    case Operation::Kind::FileWrite: ++activity_.writes; break;
    case Operation::Kind::FileRead: ++activity_.reads; break;
    case Operation::Kind::Call: break;
  }
  show();
  operation->open_on(*session_);
}

void Sandbox::forget(Operation& operation) {
  if (operations_.erase(operation.shared_from_this()) == 0) return;
  switch (operation.kind()) {
    case Operation::Kind::Exec: --activity_.execs; break;
    case Operation::Kind::FileWrite: --activity_.writes; break;
    case Operation::Kind::FileRead: --activity_.reads; break;
    case Operation::Kind::Call: break;
  }
  show();
}

void Sandbox::move_to(State phase) {
  {
    const std::lock_guard lock(mutex_);
    const State shown = shown_state(phase, activity_);
    if (!may_move(info_.state, shown)) {
      core_->log(LogLevel::Error, fmt::format("sandbox {}: refused the move from {} to {}", id_,
                                              state_name(info_.state), state_name(shown)));
      return;
    }
    phase_ = phase;
    info_.state = shown;
  }
  core_->log(LogLevel::Debug, fmt::format("sandbox {}: {}", id_, state_name(phase)));
}

void Sandbox::show() {
  const std::lock_guard lock(mutex_);
  const State shown = shown_state(phase_, activity_);
  if (may_move(info_.state, shown)) info_.state = shown;
}

}  // namespace sandforge::engine
