// SPDX-License-Identifier: Apache-2.0
// Engine: every sandbox of one state directory: the registry by id, tombstones, admission.
#pragma once

#include <chrono>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/unique_fd.hpp"
#include "engine/backend_choice.hpp"
#include "engine/core.hpp"
#include "engine/sandbox.hpp"
#include "policy/policy.hpp"

namespace sandforge::engine {

// Empty and 0 mean the defaults that sandforge_engine_options names.
struct EngineOptions {
  std::filesystem::path state_dir, image_dir, helper_dir;
  std::uint32_t max_sandboxes = 0;
  backend::Isolation min_isolation = backend::Isolation::None;
  LogFn log;
  LogLevel log_level = LogLevel::Info;
  // At most one of the two; neither: the defaults of `audience`.
  std::filesystem::path policy_file;
  std::optional<std::string> policy_text;
  policy::Audience audience = policy::Audience::Library;
  std::vector<std::string> protected_paths;  // beside the engine's own, of the program: sockets, tokens
};
// The directories that the options mean on this host. Reads the environment.
Directories resolve_directories(const EngineOptions& options);

class Engine {
 public:
  // Errors: see sandforge_engine_create.
  static base::Result<std::unique_ptr<Engine>> create(EngineOptions options);
  // Destroys every sandbox and ends the thread. BLOCKS. Not from a callback.
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;

  // All of these: any thread.
  // Validates, registers the id, starts. `notifier` may be null. Errors: see sandforge_sandbox_create_begin.
  base::Result<std::shared_ptr<Sandbox>> create_sandbox(SandboxSpec spec, std::shared_ptr<Notifier> notifier);
  // Tombstones included. Errors: not_found "no_sandbox".
  base::Result<std::shared_ptr<Sandbox>> find(std::string_view id);
  // By created_at, then id; tombstones left out.
  std::vector<SandboxInfo> list() const;
  const Backends& backends() const noexcept { return backends_; }
  const std::shared_ptr<Core>& core() const noexcept { return core_; }

 private:
  Engine(EngineOptions options, Directories directories, policy::Policy policy, base::UniqueFd lock);

  struct Tombstone {
    std::chrono::steady_clock::time_point since;
    std::shared_ptr<Sandbox> sandbox;
  };
  // The three below: under mutex_.
  base::Status admit(const std::string& id);
  void prune_tombstones();
  void drop_tombstone(std::string_view id);
  // Loop thread: the sandbox has become a tombstone.
  void bury(const std::shared_ptr<Sandbox>& sandbox);

  const std::uint32_t max_sandboxes_;
  const backend::Isolation min_isolation_;
  const base::UniqueFd lock_;  // of the state directory; let go of last
  const Backends backends_;    // outlives the workers, which the sandboxes' end has destroyed
  const std::shared_ptr<Core> core_;

  mutable std::mutex mutex_;
  bool closing_ = false;
  std::map<std::string, std::shared_ptr<Sandbox>, std::less<>> sandboxes_;
  std::deque<Tombstone> tombstones_;  // oldest first
};

}  // namespace sandforge::engine
