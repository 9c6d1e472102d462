// SPDX-License-Identifier: Apache-2.0
// SandboxSpec and Sandbox: one guest, and a handle on it.
#pragma once

#include <sandforge/engine.hpp>
#include <sandforge/error.hpp>
#include <sandforge/files.hpp>
#include <sandforge/process.hpp>
#include <sandforge/sandbox_info.hpp>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace sandforge {

struct Mount {
  std::string host_path{};
  std::string guest_path{};
  bool read_only = false;
};

struct MountInfo {
  std::string host_path{};  // as given
  std::string guest_path{};
  bool read_only = false;
  std::string failure{};  // why nothing can be had from it any more
};

// Zeros and empty strings mean the defaults.
struct SandboxSpec {
  std::string id{};              // "sbx-" + 16 hex digits
  std::string backend{};         // "auto": the best that probes well
  std::string image{};           // "default"
  std::int64_t cpu = 0;          // 2 vCPUs
  std::int64_t memory_mb = 0;    // 512 MiB
  std::int64_t disk_gb = 0;      // 10 GiB
  std::int64_t timeout_sec = 0;  // 3600 s, from ready on
  std::string network_mode{};    // "offline"; "fetch", "full"
  std::string task_isolation{};  // "container"; "process"
  std::vector<Mount> mounts{};
};

// What the policy says about one part of a spec: see sandforge_policy_verdict.
struct PolicyVerdict {
  std::string part{};
  bool allowed = false;
  std::string rule{};
  std::string reason{};
  std::string remedy{};
  sandforge_code code = SANDFORGE_OK;
};

namespace detail {

// A SandboxSpec in C's terms. Borrows from the spec, which must outlive it.
class CSandboxSpec {
 public:
  explicit CSandboxSpec(const SandboxSpec& spec) {
    mounts_.reserve(spec.mounts.size());
    for (const Mount& mount : spec.mounts) {
      mounts_.push_back(
          {c_text(mount.host_path, "host_path"), c_text(mount.guest_path, "guest_path"), mount.read_only ? 1U : 0U});
    }
    c_.size = sizeof c_;
    c_.id = c_text_or_default(spec.id, "id");
    c_.backend = c_text_or_default(spec.backend, "backend");
    c_.image = c_text_or_default(spec.image, "image");
    c_.cpu = spec.cpu;
    c_.memory_mb = spec.memory_mb;
    c_.disk_gb = spec.disk_gb;
    c_.timeout_sec = spec.timeout_sec;
    c_.network_mode = c_text_or_default(spec.network_mode, "network_mode");
    c_.task_isolation = c_text_or_default(spec.task_isolation, "task_isolation");
    c_.mounts = mounts_.data();
    c_.mount_count = mounts_.size();
  }
  const sandforge_sandbox_spec* get() const noexcept { return &c_; }

 private:
  std::vector<sandforge_mount> mounts_;
  sandforge_sandbox_spec c_{};
};

// For a notification that comes exactly once: the callable frees itself.
inline void call_notify_once(void* user_data) noexcept {
  const std::unique_ptr<NotifyFunction> notify(static_cast<NotifyFunction*>(user_data));
  (*notify)();
}

}  // namespace detail

// What a create of `spec` would be told by an engine of these options, part by part. Makes nothing.
inline std::vector<PolicyVerdict> explain_policy(const EngineOptions& options, const SandboxSpec& spec) {
  const detail::CEngineOptions c_options(options, nullptr);
  const detail::CSandboxSpec c_spec(spec);
  detail::Call call;
  sandforge_policy_verdict_list* raw = nullptr;
  call.check(sandforge_policy_explain(c_options.get(), c_spec.get(), &raw, call.slot()));
  const detail::Owned<sandforge_policy_verdict_list, sandforge_policy_verdict_list_free> list(raw);
  std::vector<PolicyVerdict> verdicts;
  verdicts.reserve(list->count);
  for (std::size_t i = 0; i < list->count; ++i) {
    const sandforge_policy_verdict& item = *list->items[i];
    verdicts.push_back({detail::text_of(item.part), item.allowed != 0, detail::text_of(item.rule),
                        detail::text_of(item.reason), detail::text_of(item.remedy), item.code});
  }
  return verdicts;
}

// A handle on a guest. Move-only; its destructor leaves the guest running (destroy() ends it, and so does the end of
// the Engine). Any thread may call; calls may overlap, except the destructor.
class Sandbox {
 public:
  // BLOCKS until the sandbox is ready. After a failure past validation a record in State::Error stays under the id.
  static Sandbox create(const Engine& engine, const SandboxSpec& spec = {}) {
    const detail::CSandboxSpec c_spec(spec);
    detail::Call call;
    sandforge_sandbox* sandbox = nullptr;
    call.check(sandforge_sandbox_create(engine.native_handle(), c_spec.get(), &sandbox, call.slot()));
    return Sandbox(sandbox);
  }

  // The same without waiting: validates and registers the id. `notify` is called once, on the engine's thread (perhaps
  // before this returns), when wait() would answer.
  static Sandbox create_begin(const Engine& engine, const SandboxSpec& spec, NotifyFunction notify = {}) {
    const detail::CSandboxSpec c_spec(spec);
    auto owned = notify ? std::make_unique<NotifyFunction>(std::move(notify)) : nullptr;
    detail::Call call;
    sandforge_sandbox* sandbox = nullptr;
    call.check(sandforge_sandbox_create_begin(engine.native_handle(), c_spec.get(),
                                              owned ? &detail::call_notify_once : nullptr, owned.get(), &sandbox,
                                              call.slot()));
    static_cast<void>(owned.release());  // call_notify_once frees it
    return Sandbox(sandbox);
  }

  // A new handle on a sandbox of this engine, tombstones included. Throws NotFound.
  static Sandbox open(const Engine& engine, const std::string& id) {
    const char* c_id = detail::c_text(id, "id");
    detail::Call call;
    sandforge_sandbox* sandbox = nullptr;
    call.check(sandforge_sandbox_open(engine.native_handle(), c_id, &sandbox, call.slot()));
    return Sandbox(sandbox);
  }

  // BLOCKS for at most `timeout` until it is ready; throws the create's error when that failed. False: not yet.
  bool wait(std::chrono::milliseconds timeout = kForever) {
    detail::Call call;
    const sandforge_code code = sandforge_sandbox_wait(sandbox_.get(), timeout.count(), call.slot());
    // A create may itself have failed by a time-out: its word is another.
    if (code == SANDFORGE_TIMED_OUT && call.reason() == "not_yet") return false;
    call.check(code);
    return true;
  }

  // Ends the guest and BLOCKS until nothing is left of it (below 1 s). Idempotent.
  void destroy() {
    detail::Call call;
    call.check(sandforge_sandbox_destroy(sandbox_.get(), call.slot()));
  }

  std::string id() const { return detail::text_of(sandforge_sandbox_id(sandbox_.get())); }

  SandboxInfo info() const {
    detail::Call call;
    sandforge_sandbox_info* raw = nullptr;
    call.check(sandforge_sandbox_get_info(sandbox_.get(), &raw, call.slot()));
    const detail::Owned<sandforge_sandbox_info, sandforge_sandbox_info_free> info(raw);
    return detail::copy(*info);
  }

  // Runs a command and collects its output. BLOCKS until it ended.
  ExecResult exec(const ExecSpec& spec) {
    const detail::CExecSpec c_spec(spec);
    detail::Call call;
    sandforge_exec_result* raw = nullptr;
    call.check(sandforge_sandbox_exec(sandbox_.get(), c_spec.get(), &raw, call.slot()));
    const detail::Owned<sandforge_exec_result, sandforge_exec_result_free> result(raw);
    return detail::copy(*result);
  }

  // Starts a command without waiting. `notify` is called on the engine's thread when output, space for input or the
  // end may be there; not again until a read, write or wait found nothing. It may be called before this returns.
  Process start(const ExecSpec& spec, NotifyFunction notify = {}) {
    const detail::CExecSpec c_spec(spec);
    auto owned = notify ? std::make_unique<NotifyFunction>(std::move(notify)) : nullptr;
    detail::Call call;
    sandforge_process* process = nullptr;
    call.check(sandforge_sandbox_start(sandbox_.get(), c_spec.get(), owned ? &detail::call_notify : nullptr,
                                       owned.get(), &process, call.slot()));
    return Process(process, std::move(owned));
  }

  // Mounts one more directory of the host; running commands see it. BLOCKS.
  void mount(const Mount& mount) {
    const sandforge_mount c_mount{detail::c_text(mount.host_path, "host_path"),
                                  detail::c_text(mount.guest_path, "guest_path"), mount.read_only ? 1U : 0U};
    detail::Call call;
    call.check(sandforge_sandbox_mount(sandbox_.get(), &c_mount, call.slot()));
  }
  // Takes it away again; running commands keep what they have open in it. BLOCKS. Throws NotFound.
  void unmount(const std::string& guest_path) {
    const char* c_path = detail::c_text(guest_path, "guest_path");
    detail::Call call;
    call.check(sandforge_sandbox_unmount(sandbox_.get(), c_path, call.slot()));
  }
  // Those of the spec and those that came later.
  std::vector<MountInfo> mounts() const {
    detail::Call call;
    sandforge_mount_list* raw = nullptr;
    call.check(sandforge_sandbox_mounts(sandbox_.get(), &raw, call.slot()));
    const detail::Owned<sandforge_mount_list, sandforge_mount_list_free> list(raw);
    std::vector<MountInfo> mounts;
    for (std::size_t i = 0; i < list->count; ++i) {
      const sandforge_mount_info& from = *list->items[i];
      mounts.push_back({detail::text_of(from.host_path), detail::text_of(from.guest_path), from.read_only != 0,
                        detail::text_of(from.failure)});
    }
    return mounts;
  }

  // The view borrows this handle.
  Files files() const noexcept { return Files(sandbox_.get()); }

  sandforge_sandbox* native_handle() const noexcept { return sandbox_.get(); }

 private:
  explicit Sandbox(sandforge_sandbox* sandbox) noexcept : sandbox_(sandbox) {}

  detail::Owned<sandforge_sandbox, sandforge_sandbox_free> sandbox_;
};

}  // namespace sandforge
