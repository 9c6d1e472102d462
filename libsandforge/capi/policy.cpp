// SPDX-License-Identifier: Apache-2.0
// The policy in the C ABI: what it is, and what it says of a spec.
#include "capi/guard.hpp"
#include "capi/handles.hpp"
#include "engine/policy_gate.hpp"

namespace sandforge::capi {
namespace {

struct OwnedSetting : Owned<sandforge_policy_setting> {
  policy::SettingText text;

  explicit OwnedSetting(policy::SettingText given) : text(std::move(given)) {
    key = text.key.c_str();
    value = text.value.c_str();
    origin = text.origin.c_str();
  }
};
using OwnedSettings = OwnedList<sandforge_policy_setting_list, OwnedSetting>;

struct OwnedVerdict : Owned<sandforge_policy_verdict> {
  policy::Part judged;

  explicit OwnedVerdict(policy::Part given) : judged(std::move(given)) {
    const policy::Verdict& verdict = judged.verdict;
    part = judged.name.c_str();
    allowed = verdict.allowed ? 1 : 0;
    rule = verdict.rule.c_str();
    reason = verdict.reason.c_str();
    remedy = verdict.remedy.c_str();
    code = verdict.allowed ? sandforge_code{SANDFORGE_OK} : static_cast<sandforge_code>(verdict.code);
  }
};
using OwnedVerdicts = OwnedList<sandforge_policy_verdict_list, OwnedVerdict>;

void give(const policy::Policy& policy, sandforge_policy_setting_list** list) {
  auto result = std::make_unique<OwnedSettings>();
  for (auto& setting : policy::describe(policy)) {
    result->owned.push_back(std::make_unique<OwnedSetting>(std::move(setting)));
  }
  result->seal();
  *list = result.release();
}

}  // namespace
}  // namespace sandforge::capi

using namespace sandforge::capi;
namespace base = sandforge::base;
namespace engine = sandforge::engine;

extern "C" {

sandforge_code sandforge_policy_check(const sandforge_engine_options* options, sandforge_policy_setting_list** list,
                                      sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(list);
    SANDFORGE_TRY(const auto resolved, options_of(options));
    SANDFORGE_TRY(const auto policy, engine::load_policy(resolved, engine::resolve_directories(resolved)));
    give(policy, list);
    return {};
  });
}

sandforge_code sandforge_engine_policy(sandforge_engine* engine, sandforge_policy_setting_list** list,
                                       sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_NEEDS(list);
    give(engine->engine->core()->policy(), list);
    return {};
  });
}
void sandforge_policy_setting_list_free(sandforge_policy_setting_list* list) {
  delete static_cast<OwnedSettings*>(list);
}

sandforge_code sandforge_policy_explain(const sandforge_engine_options* options, const sandforge_sandbox_spec* spec,
                                        sandforge_policy_verdict_list** list, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(list);
    SANDFORGE_TRY(const auto resolved, options_of(options));
    SANDFORGE_TRY(auto given, spec_of(spec));
    SANDFORGE_TRY(auto judgement, engine::explain_spec(resolved, std::move(given)));
    auto result = std::make_unique<OwnedVerdicts>();
    for (auto& part : judgement.parts) result->owned.push_back(std::make_unique<OwnedVerdict>(std::move(part)));
    result->seal();
    *list = result.release();
    return {};
  });
}
void sandforge_policy_verdict_list_free(sandforge_policy_verdict_list* list) {
  delete static_cast<OwnedVerdicts*>(list);
}

}  // extern "C"
