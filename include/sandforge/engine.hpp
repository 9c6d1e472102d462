// SPDX-License-Identifier: Apache-2.0
// Engine: owns every sandbox of one state directory, and one thread. Also what the host can do.
#pragma once

#include <sandforge/error.hpp>
#include <sandforge/sandbox_info.hpp>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace sandforge {

enum class LogLevel : sandforge_log_level {
  Error = SANDFORGE_LOG_ERROR,
  Warn = SANDFORGE_LOG_WARN,
  Info = SANDFORGE_LOG_INFO,
  Debug = SANDFORGE_LOG_DEBUG,
};
// One line without newline, borrowed for the call. Called on library threads; must not throw.
using LogFunction = std::function<void(LogLevel level, std::string_view message)>;

// Who can ask for sandboxes: see sandforge_audience.
enum class Audience : sandforge_audience {
  Library = SANDFORGE_AUDIENCE_LIBRARY,
  Loopback = SANDFORGE_AUDIENCE_LOOPBACK,
  Remote = SANDFORGE_AUDIENCE_REMOTE,
};

// Empty strings and zeros mean the defaults that sandforge_engine_options names.
struct EngineOptions {
  std::string state_dir{};
  std::string image_dir{};
  std::string helper_dir{};
  std::uint32_t max_sandboxes = 0;
  Isolation min_isolation = Isolation::None;
  LogFunction log{};
  LogLevel log_level = LogLevel::Info;
  std::string policy_file{};  // or policy_text: at most one
  std::string policy_text{};
  Audience audience = Audience::Library;
  std::vector<std::string> protected_paths{};  // of your program, that no mount may reach: sockets, tokens
};

// One value of a policy: `value` is TOML.
struct PolicySetting {
  std::string key{};
  std::string value{};
  std::string origin{};  // the line that set it, or that it is built in
};

struct BackendInfo {
  std::string name{};
  Isolation isolation = Isolation::None;  // what it would give on this host
  bool available = false;
  std::string detail{};  // version and accelerator, or empty
  std::string reason{};  // why it is not available, or empty
  std::string remedy{};
};

// Values are those of sandforge_check.status.
enum class CheckStatus : std::uint32_t { Fine = 0, CouldBeBetter = 1, StopsSandboxes = 2 };
struct Check {
  std::string name{};
  CheckStatus status = CheckStatus::Fine;
  std::string detail{};
  std::string remedy{};
};

struct Limit {
  std::string_view name;  // static storage
  std::uint64_t value = 0;
};

inline std::string_view library_version() { return sandforge_version(); }

namespace detail {

// Trampolines hand C++ callables to C. `noexcept`: an exception that reached C code would be worse than the end.
inline void call_log(void* user_data, sandforge_log_level level, const char* message) noexcept {
  (*static_cast<LogFunction*>(user_data))(static_cast<LogLevel>(level), message);
}

// EngineOptions in C's terms. Borrows from the options and the log function, which must outlive it.
class CEngineOptions {
 public:
  CEngineOptions(const EngineOptions& options, LogFunction* log);
  CEngineOptions(const CEngineOptions&) = delete;
  CEngineOptions& operator=(const CEngineOptions&) = delete;
  const sandforge_engine_options* get() const noexcept { return &c_; }

 private:
  std::vector<const char*> protected_paths_;
  sandforge_engine_options c_{};
};

inline CEngineOptions::CEngineOptions(const EngineOptions& options, LogFunction* log) {
  sandforge_engine_options& c_options = c_;
  c_options.size = sizeof c_options;
  c_options.state_dir = c_text_or_default(options.state_dir, "state_dir");
  c_options.image_dir = c_text_or_default(options.image_dir, "image_dir");
  c_options.helper_dir = c_text_or_default(options.helper_dir, "helper_dir");
  c_options.max_sandboxes = options.max_sandboxes;
  c_options.min_isolation = static_cast<sandforge_isolation>(options.min_isolation);
  c_options.log = log != nullptr && *log ? &call_log : nullptr;
  c_options.log_user_data = log;
  c_options.log_level = static_cast<sandforge_log_level>(options.log_level);
  c_options.policy_file = c_text_or_default(options.policy_file, "policy_file");
  c_options.policy_text = c_text_or_default(options.policy_text, "policy_text");
  c_options.audience = static_cast<sandforge_audience>(options.audience);
  for (const std::string& path : options.protected_paths) protected_paths_.push_back(c_text(path, "protected_paths"));
  c_options.protected_paths = protected_paths_.data();
  c_options.protected_path_count = protected_paths_.size();
}

inline std::vector<PolicySetting> settings_of(sandforge_policy_setting_list* raw) {
  const Owned<sandforge_policy_setting_list, sandforge_policy_setting_list_free> list(raw);
  std::vector<PolicySetting> settings;
  settings.reserve(list->count);
  for (std::size_t i = 0; i < list->count; ++i) {
    const sandforge_policy_setting& item = *list->items[i];
    settings.push_back({text_of(item.key), text_of(item.value), text_of(item.origin)});
  }
  return settings;
}

}  // namespace detail

// Move-only. Any thread may call; calls may overlap, except the destructor, which BLOCKS until every sandbox of the
// engine is destroyed. Handles (Sandbox, Process) may outlive it and then throw Disconnected.
class Engine {
 public:
  // Opens the state directory, reaps what a killed predecessor left, starts the thread.
  explicit Engine(const EngineOptions& options = {})
      : log_(options.log ? std::make_unique<LogFunction>(options.log) : nullptr) {
    const detail::CEngineOptions c_options(options, log_.get());
    detail::Call call;
    sandforge_engine* engine = nullptr;
    call.check(sandforge_engine_create(c_options.get(), &engine, call.slot()));
    engine_.reset(engine);
  }
  Engine(Engine&&) noexcept = default;
  Engine& operator=(Engine&& other) noexcept {
    engine_ = std::move(other.engine_);  // ends the old engine while its log function still lives
    log_ = std::move(other.log_);
    return *this;
  }
  ~Engine() = default;

  // Probes every backend anew; in the order in which "auto" prefers them.
  std::vector<BackendInfo> backends() const {
    detail::Call call;
    sandforge_backend_list* raw = nullptr;
    call.check(sandforge_engine_backends(engine_.get(), &raw, call.slot()));
    const detail::Owned<sandforge_backend_list, sandforge_backend_list_free> list(raw);
    std::vector<BackendInfo> backends;
    backends.reserve(list->count);
    for (std::size_t i = 0; i < list->count; ++i) {
      const sandforge_backend_info& item = *list->items[i];
      backends.push_back({detail::text_of(item.name), static_cast<Isolation>(item.isolation), item.available != 0,
                          detail::text_of(item.detail), detail::text_of(item.reason), detail::text_of(item.remedy)});
    }
    return backends;
  }

  // Every sandbox but tombstones, by time of creation.
  std::vector<SandboxInfo> list() const {
    detail::Call call;
    sandforge_sandbox_list* raw = nullptr;
    call.check(sandforge_engine_list(engine_.get(), &raw, call.slot()));
    const detail::Owned<sandforge_sandbox_list, sandforge_sandbox_list_free> list(raw);
    std::vector<SandboxInfo> sandboxes;
    sandboxes.reserve(list->count);
    for (std::size_t i = 0; i < list->count; ++i) sandboxes.push_back(detail::copy(*list->items[i]));
    return sandboxes;
  }

  // What this host can do. Needs no engine and changes nothing.
  static std::vector<Check> doctor(const EngineOptions& options = {}) {
    const detail::CEngineOptions c_options(options, nullptr);
    detail::Call call;
    sandforge_check_list* raw = nullptr;
    call.check(sandforge_doctor(c_options.get(), &raw, call.slot()));
    const detail::Owned<sandforge_check_list, sandforge_check_list_free> list(raw);
    std::vector<Check> checks;
    checks.reserve(list->count);
    for (std::size_t i = 0; i < list->count; ++i) {
      const sandforge_check& item = *list->items[i];
      checks.push_back({detail::text_of(item.name), static_cast<CheckStatus>(item.status), detail::text_of(item.detail),
                        detail::text_of(item.remedy)});
    }
    return checks;
  }

  // The policy of this engine.
  std::vector<PolicySetting> policy() const {
    detail::Call call;
    sandforge_policy_setting_list* raw = nullptr;
    call.check(sandforge_engine_policy(engine_.get(), &raw, call.slot()));
    return detail::settings_of(raw);
  }

  // The policy that an engine of these options would have. Needs no engine and changes nothing. Throws InvalidArgument
  // "invalid_policy" with file, line and column.
  static std::vector<PolicySetting> check_policy(const EngineOptions& options = {}) {
    const detail::CEngineOptions c_options(options, nullptr);
    detail::Call call;
    sandforge_policy_setting_list* raw = nullptr;
    call.check(sandforge_policy_check(c_options.get(), &raw, call.slot()));
    return detail::settings_of(raw);
  }

  // Every limit that applies, by name.
  static std::vector<Limit> limits() {
    std::size_t count = 0;
    const sandforge_limit* raw = sandforge_limits(&count);
    std::vector<Limit> limits;
    limits.reserve(count);
    for (std::size_t i = 0; i < count; ++i) limits.push_back({raw[i].name, raw[i].value});
    return limits;
  }

  // For calls of the C ABI; borrowed.
  sandforge_engine* native_handle() const noexcept { return engine_.get(); }

 private:
  std::unique_ptr<LogFunction> log_;  // before engine_: the engine logs until it is gone
  detail::Owned<sandforge_engine, sandforge_engine_free> engine_;
};

}  // namespace sandforge
