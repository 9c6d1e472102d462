// SPDX-License-Identifier: Apache-2.0
// Engine, backends, doctor and limits of the C ABI.
#include "base/limits.hpp"
#include "capi/abi_check.hpp"
#include "capi/guard.hpp"
#include "capi/handles.hpp"
#include "engine/doctor.hpp"
#include "engine/limits_table.hpp"

namespace sandforge::capi {
namespace {

struct OwnedBackend : Owned<sandforge_backend_info> {
  std::string name_text;
  backend::Probe probe;

  void seal() {
    name = name_text.c_str();
    isolation = static_cast<sandforge_isolation>(probe.isolation);
    available = probe.available ? 1 : 0;
    detail = probe.detail.c_str();
    reason = probe.reason.c_str();
    remedy = probe.remedy.c_str();
  }
};
using OwnedBackends = OwnedList<sandforge_backend_list, OwnedBackend>;

struct OwnedCheck : Owned<sandforge_check> {
  engine::Check check;

  void seal() {
    name = check.name.c_str();
    status = static_cast<std::uint32_t>(check.status);
    detail = check.detail.c_str();
    remedy = check.remedy.c_str();
  }
};
using OwnedChecks = OwnedList<sandforge_check_list, OwnedCheck>;

base::Status copy_protected_paths(const sandforge_engine_options& options, std::vector<std::string>& out) {
  const auto invalid = [](const char* text) {
    return base::make_error(base::Code::InvalidArgument, "invalid_options", text);
  };
  if (options.protected_path_count > limits::kPolicyListMax) return invalid("protected_path_count is too large");
  if (options.protected_path_count > 0 && options.protected_paths == nullptr) return invalid("protected_paths is NULL");
  for (std::size_t i = 0; i < options.protected_path_count; ++i) {
    if (options.protected_paths[i] == nullptr) return invalid("an entry of protected_paths is NULL");
    out.emplace_back(options.protected_paths[i]);
  }
  return {};
}

static_assert(sizeof(sandforge_limit) == sizeof(engine::NamedLimit) &&
              offsetof(sandforge_limit, value) == offsetof(engine::NamedLimit, value));

}  // namespace

base::Result<engine::EngineOptions> options_of(const sandforge_engine_options* given) {
  SANDFORGE_TRY(const sandforge_engine_options options, read_struct(given, "sandforge_engine_options"));
  engine::EngineOptions result;
  result.state_dir = text_of(options.state_dir);
  result.image_dir = text_of(options.image_dir);
  result.helper_dir = text_of(options.helper_dir);
  result.max_sandboxes = options.max_sandboxes;
  result.min_isolation = static_cast<backend::Isolation>(options.min_isolation);
  if (options.log != nullptr) {
    result.log = [log = options.log, user_data = options.log_user_data](engine::LogLevel level, const char* line) {
      log(user_data, static_cast<sandforge_log_level>(level), line);
    };
  }
  if (options.log_level > SANDFORGE_LOG_DEBUG) {
    return base::make_error(base::Code::InvalidArgument, "invalid_options", "log_level is no log level");
  }
  result.policy_file = text_of(options.policy_file);
  if (options.policy_text != nullptr) result.policy_text = options.policy_text;
  result.audience = static_cast<policy::Audience>(options.audience);
  SANDFORGE_TRY_STATUS(copy_protected_paths(options, result.protected_paths));
  if (options.log_level != 0) result.log_level = static_cast<engine::LogLevel>(options.log_level);
  return result;
}

}  // namespace sandforge::capi

using namespace sandforge::capi;
namespace base = sandforge::base;

extern "C" {

sandforge_code sandforge_engine_create(const sandforge_engine_options* options, sandforge_engine** engine,
                                       sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_TRY(auto resolved, options_of(options));
    auto handle = std::make_unique<sandforge_engine>();
    SANDFORGE_TRY(handle->engine, sandforge::engine::Engine::create(std::move(resolved)));
    *engine = handle.release();
    return {};
  });
}

void sandforge_engine_free(sandforge_engine* engine) {
  guarded_quietly([&] { delete engine; });
}

sandforge_code sandforge_engine_backends(sandforge_engine* engine, sandforge_backend_list** list,
                                         sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_NEEDS(list);
    auto result = std::make_unique<OwnedBackends>();
    for (const auto& backend : engine->engine->backends()) {
      auto item = std::make_unique<OwnedBackend>();
      item->name_text = backend->name();
      item->probe = backend->probe();
      item->seal();
      result->owned.push_back(std::move(item));
    }
    result->seal();
    *list = result.release();
    return {};
  });
}
void sandforge_backend_list_free(sandforge_backend_list* list) { delete static_cast<OwnedBackends*>(list); }

sandforge_code sandforge_doctor(const sandforge_engine_options* options, sandforge_check_list** list,
                                sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(list);
    SANDFORGE_TRY(const auto resolved, options_of(options));
    auto result = std::make_unique<OwnedChecks>();
    for (auto& check : sandforge::engine::examine_host(resolved)) {
      auto item = std::make_unique<OwnedCheck>();
      item->check = std::move(check);
      item->seal();
      result->owned.push_back(std::move(item));
    }
    result->seal();
    *list = result.release();
    return {};
  });
}
void sandforge_check_list_free(sandforge_check_list* list) { delete static_cast<OwnedChecks*>(list); }

const sandforge_limit* sandforge_limits(size_t* count) {
  const auto table = sandforge::engine::limits_table();
  if (count != nullptr) *count = table.size();
  // SAFETY: the two structs have one layout, asserted above.
  return reinterpret_cast<const sandforge_limit*>(table.data());
}

}  // extern "C"
