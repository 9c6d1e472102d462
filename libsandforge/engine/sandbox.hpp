// SPDX-License-Identifier: Apache-2.0
// Sandbox: one guest from create to tombstone. Its parts live on the loop thread; what callers see is under a mutex.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <set>
#include <string>

#include "agent_client/session.hpp"
#include "backend/backend.hpp"
#include "engine/backend_choice.hpp"
#include "engine/core.hpp"
#include "engine/file_service.hpp"
#include "engine/guest_mounts.hpp"
#include "engine/notifier.hpp"
#include "engine/operation.hpp"
#include "engine/spec.hpp"
#include "engine/state.hpp"

namespace sandforge::engine {

struct SandboxInfo {
  SandboxSpec spec;  // resolved; spec.backend is the one that is really used
  State state = State::Requested;
  backend::Isolation isolation = backend::Isolation::None;
  std::string image_digest;
  std::int64_t created_at = 0;  // Unix seconds
  std::int64_t expires_at = 0;
  std::uint64_t ready_after_ns = 0;
  std::uint64_t guest_hello_ns = 0;
  std::string failure, failure_reason;
};

// What the provisioning thread hands back: see provision.hpp.
struct Provisioned {
  backend::LaunchPlan plan;
  std::string image_digest;
  std::vector<base::UniqueFd> mount_directories;  // of the spec's mounts
};

struct MountInfo {
  Mount mount;
  std::uint32_t index = 0;  // of the file server's directory
  std::string failure;      // why nothing can be had from it any more; "" otherwise
};

// Milliseconds from a caller: negative means for ever, as does what no clock can count.
using Timeout = std::int64_t;
inline constexpr Timeout kLongestTimeout = std::int64_t{366} * 24 * 3600 * 1000;
inline bool is_for_ever(Timeout timeout) noexcept { return timeout < 0 || timeout > kLongestTimeout; }

class Sandbox final : public std::enable_shared_from_this<Sandbox>, private agent_client::SessionEvents {
 public:
  // Called once on the loop thread when nothing is left of the sandbox.
  using GoneFn = std::function<void(const std::shared_ptr<Sandbox>&)>;

  // `choice.backend` and whatever `gone` refers to outlive the sandbox's last phase.
  Sandbox(std::shared_ptr<Core> core, SandboxSpec spec, BackendChoice choice, GoneFn gone);
  ~Sandbox() override = default;

  // --- Any thread
  const std::string& id() const noexcept { return id_; }
  const std::shared_ptr<Core>& core() const noexcept { return core_; }
  SandboxInfo info() const;
  const SandboxSpec& spec() const noexcept { return spec_; }
  // Whether operations may be started now. Errors: conflict "not_ready", disconnected "destroyed".
  base::Status check_ready() const;
  // The outcome of the create. BLOCKS. Errors: the create's, or timed_out "not_yet".
  base::Status wait_created(Timeout timeout);
  // `notifier` is called once when wait_created would answer, at once when it would already. Before start() only.
  void notify_created(std::shared_ptr<Notifier> notifier);
  // Mounts beside those of the spec. BLOCK. Errors: check_ready's, those of check_mounts, open_host_directory and the
  // guest's; not_found "no_mount".
  base::Status attach_mount(Mount given);
  base::Status detach_mount(const std::string& guest_path);
  std::vector<MountInfo> mounts() const;
  // Ends the guest and waits until nothing is left. BLOCKS.
  base::Status destroy();
  // The same without waiting. `reason` is a machine word, `text` goes into the tombstone.
  void destroy_begin(std::string reason, std::string text);
  // After destroy_begin. BLOCKS.
  void wait_destroyed();

  // --- Loop thread
  void start();
  void open(const std::shared_ptr<Operation>& operation);
  void forget(Operation& operation);
  // A command of the guest does not end though it was killed: a task that waits for a mount hears no signal. Stops the
  // file server, so that it hears EIO. The guest paths of the mounts, "" when there is none.
  std::string break_mounts();
  bool has_mounts() const noexcept { return files_ && files_->exited_fd() >= 0; }

 private:
  // agent_client::SessionEvents
  void on_ready(const wire::Hello& hello) override;
  void on_lost(base::Error error) override;

  // Create, in this order (sandbox_create.cpp).
  void on_provisioned(base::Result<Provisioned> result);
  base::Status launch(Provisioned& provisioned);
  base::Status start_guest();
  // A guest that ended because its kernel measured its timer wrongly gets another try. False: it had them all.
  bool launch_again(const std::string& how_it_ended);
  void on_boot_timeout();
  void on_mounted(base::Status status);
  void complete_create(base::Status status);

  // Mounts (sandbox_mounts.cpp).
  void serve_mounts(std::shared_ptr<Provisioned> provisioned);
  void watch_file_server();
  std::uint32_t free_mount_index();
  void on_files_exit();

  // The end (sandbox_end.cpp).
  void begin_destroy(const std::string& reason, const std::string& text);
  void fail(base::Error error, wire::EndedBy verdict);
  void end_operations(wire::EndedBy verdict, const base::Error& error);
  void on_worker_exit();
  void on_agent_lost();
  void tear_down();
  void continue_tear_down();
  void finish_tear_down(bool everything);

  void move_to(State phase);
  void show();

  const std::shared_ptr<Core> core_;
  const SandboxSpec spec_;
  const std::string id_;
  const std::chrono::steady_clock::time_point requested_at_ = std::chrono::steady_clock::now();
  backend::Backend& backend_;
  const bool uses_images_;

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  SandboxInfo info_;                            // under mutex_; changed by the loop thread only
  State phase_ = State::Requested;              // likewise
  std::optional<base::Status> created_;         // likewise
  std::shared_ptr<Notifier> created_notifier_;  // likewise
  std::vector<MountInfo> mounts_;               // under mutex_; changed by whoever holds mounting_ too

  std::mutex mounting_;           // one attach or detach at a time
  std::uint32_t last_mount_ = 0;  // under mounting_: the index given last

  // Loop thread only from here on.
  GoneFn gone_;
  Activity activity_;
  std::set<std::shared_ptr<Operation>> operations_;
  backend::LaunchPlan plan_;  // once provisioned
  int launches_ = 0;
  std::unique_ptr<backend::Worker> worker_;
  std::unique_ptr<agent_client::Session> session_;
  // From the launch on, for backends whose guests have mounts. Threads that serve use it too.
  std::unique_ptr<FileService> files_;
  std::unique_ptr<GuestMounts> guest_mounts_;  // while the sandbox becomes ready
  base::Subscription exit_watch_, boot_timer_, life_timer_, lost_timer_, files_watch_;
  std::optional<base::Error> lost_error_;    // the session ended; what it means is decided when lost_timer_ fires
  std::optional<base::Error> create_error_;  // told when the tear-down is complete
  bool describe_exit_in_failure_ = false;    // the failure is a silent guest: its last words are what is known
  bool provisioning_ = false;                // a thread works in the sandbox's directory
  bool tearing_down_ = false;
};

}  // namespace sandforge::engine
