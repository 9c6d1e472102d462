// SPDX-License-Identifier: Apache-2.0
#include "engine/engine.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.hpp"
#include "engine/policy_gate.hpp"
#include "engine/state_dir.hpp"
#include "image/store.hpp"

namespace sandforge::engine {
namespace {

using base::Code;

base::Error engine_closing() {
  return base::make_error(Code::Disconnected, "engine_closed", "the engine is being closed");
}

}  // namespace

Directories resolve_directories(const EngineOptions& options) {
  Directories directories;
  directories.state = options.state_dir.empty() ? default_state_dir() : options.state_dir;
  directories.images = options.image_dir.empty() ? image::default_image_dir() : options.image_dir;
  directories.helpers = options.helper_dir;
  // Absolute once and for all: the host program may change its working directory later.
  for (std::filesystem::path* path : {&directories.state, &directories.images, &directories.helpers}) {
    std::error_code error;
    if (!path->empty()) *path = std::filesystem::absolute(*path, error);
  }
  return directories;
}

base::Result<std::unique_ptr<Engine>> Engine::create(EngineOptions options) {
  if (options.max_sandboxes > limits::kSandboxesMax) {
    return base::make_error(
        Code::InvalidArgument, "invalid_options",
        fmt::format("max_sandboxes is {}, but must be at most {}", options.max_sandboxes, limits::kSandboxesMax));
  }
  if (options.min_isolation > backend::Isolation::HardwareVm) {
    return base::make_error(Code::InvalidArgument, "invalid_options", "min_isolation is no isolation");
  }
  Directories directories = resolve_directories(options);
  SANDFORGE_TRY(policy::Policy policy, load_policy(options, directories));
  SANDFORGE_TRY(base::UniqueFd lock, lock_state_dir(directories.state));
  SANDFORGE_TRY(const std::size_t reaped, reap_state_dir(directories.state));
  std::unique_ptr<Engine> engine(
      new Engine(std::move(options), std::move(directories), std::move(policy), std::move(lock)));
  SANDFORGE_TRY_STATUS(engine->core_->start());
  if (reaped > 0) {
    engine->core_->log(LogLevel::Warn, fmt::format("removed {} sandboxes that an earlier engine left", reaped));
  }
  return engine;
}

Engine::Engine(EngineOptions options, Directories directories, policy::Policy policy, base::UniqueFd lock)
    : max_sandboxes_(options.max_sandboxes == 0 ? limits::kSandboxesDefault : options.max_sandboxes),
      min_isolation_(options.min_isolation),
      lock_(std::move(lock)),
      backends_(backend::make_backends(directories.helpers)),
      core_(std::make_shared<Core>(std::move(directories), std::move(policy), std::move(options.log),
                                   options.log_level)) {}

Engine::~Engine() {
  std::vector<std::shared_ptr<Sandbox>> living;
  {
    const std::lock_guard lock(mutex_);
    closing_ = true;
    for (const auto& [id, sandbox] : sandboxes_) living.push_back(sandbox);
  }
  for (const auto& sandbox : living) sandbox->destroy_begin("engine_closed", "its engine was closed");
  for (const auto& sandbox : living) sandbox->wait_destroyed();
  core_->close();
}

base::Result<std::shared_ptr<Sandbox>> Engine::create_sandbox(SandboxSpec given, std::shared_ptr<Notifier> notifier) {
  const policy::Policy& policy = core_->policy();
  SANDFORGE_TRY(SandboxSpec spec, resolve_spec(with_default_sizes(std::move(given), policy)));
  SANDFORGE_TRY_STATUS(policy::evaluate(policy, facts_of(spec, backends_)).status());
  SANDFORGE_TRY_STATUS(check_supported(spec));
  SANDFORGE_TRY(BackendChoice choice, choose_backend(backends_, spec.backend, min_isolation_, &policy));
  const std::string id = spec.id;
  std::shared_ptr<Sandbox> sandbox;
  {
    const std::lock_guard lock(mutex_);
    SANDFORGE_TRY_STATUS(admit(id));
    sandbox = std::make_shared<Sandbox>(core_, std::move(spec), std::move(choice),
                                        [this](const std::shared_ptr<Sandbox>& gone) { bury(gone); });
    if (notifier) sandbox->notify_created(std::move(notifier));
    sandboxes_.emplace(id, sandbox);
    drop_tombstone(id);
    // Under the lock, so that nobody can find it and post its destruction first.
    (void)core_->post([sandbox] { sandbox->start(); });
  }
  return sandbox;
}

base::Status Engine::admit(const std::string& id) {
  if (closing_) return engine_closing();
  if (sandboxes_.contains(id)) {
    return base::make_error(Code::Conflict, "id_taken", "sandbox ID already exists",
                            "choose another id, or destroy the sandbox that has it");
  }
  const auto failed = static_cast<std::size_t>(
      std::ranges::count_if(sandboxes_, [](const auto& entry) { return entry.second->info().state == State::Error; }));
  const policy::Verdict count = policy::evaluate_count(core_->policy(), sandboxes_.size() - failed);
  if (!count.allowed) return policy::to_error(count, "policy");
  if (sandboxes_.size() - failed >= max_sandboxes_) {
    return base::make_error(Code::Exhausted, "no_capacity",
                            fmt::format("this engine holds {} sandboxes, its most", max_sandboxes_),
                            "destroy sandboxes that are not needed, or raise max_sandboxes");
  }
  if (failed >= limits::kTombstonesMax) {
    return base::make_error(Code::Exhausted, "no_capacity",
                            fmt::format("{} failed sandboxes wait to be destroyed", failed),
                            "destroy the sandboxes in state error");
  }
  return {};
}

base::Result<std::shared_ptr<Sandbox>> Engine::find(std::string_view id) {
  const std::lock_guard lock(mutex_);
  if (const auto found = sandboxes_.find(id); found != sandboxes_.end()) return found->second;
  prune_tombstones();
  for (const Tombstone& tombstone : tombstones_) {
    if (tombstone.sandbox->id() == id) return tombstone.sandbox;
  }
  return base::make_error(Code::NotFound, "no_sandbox", fmt::format("sandbox \"{}\" not found", printable(id)));
}

std::vector<SandboxInfo> Engine::list() const {
  std::vector<SandboxInfo> all;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [id, sandbox] : sandboxes_) all.push_back(sandbox->info());
  }
  std::ranges::stable_sort(all, {}, &SandboxInfo::created_at);  // the map was sorted by id
  return all;
}

void Engine::bury(const std::shared_ptr<Sandbox>& sandbox) {
  const std::lock_guard lock(mutex_);
  sandboxes_.erase(sandbox->id());
  tombstones_.push_back({std::chrono::steady_clock::now(), sandbox});
  prune_tombstones();
}

void Engine::prune_tombstones() {
  const auto oldest = std::chrono::steady_clock::now() - std::chrono::seconds(limits::kTombstoneSec);
  while (!tombstones_.empty() && (tombstones_.size() > limits::kTombstonesMax || tombstones_.front().since < oldest)) {
    tombstones_.pop_front();
  }
}

void Engine::drop_tombstone(std::string_view id) {
  std::erase_if(tombstones_, [&](const Tombstone& tombstone) { return tombstone.sandbox->id() == id; });
}

}  // namespace sandforge::engine
