// SPDX-License-Identifier: Apache-2.0
// Policy files: whatever passes has values within the engine's own limits, describes itself, and judges commands.
#include "base/limits.hpp"
#include "policy/evaluate.hpp"

namespace {

using namespace sandforge;

bool is_sound(const policy::Policy& policy) {
  if (policy.cpu.value < 1 || policy.cpu.value > limits::kCpuMax) return false;
  if (policy.memory_mb.value < limits::kMemoryMbMin || policy.memory_mb.value > limits::kMemoryMbMax) return false;
  if (policy.mounts_max.value < 0 || policy.mounts_max.value > static_cast<std::int64_t>(limits::kMountsMax))
    return false;
  for (const auto* list : {&policy.allow, &policy.allow_read_only, &policy.allow_credentials, &policy.block}) {
    for (const std::string& path : list->value) {
      if (!policy::check_host_path(path) || policy::cleaned(path) != path) return false;
    }
  }
  return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  const auto policy = policy::parse(text, "fuzz");
  if (!policy) {
    if (policy.error().reason != "invalid_policy" || policy.error().message.empty()) __builtin_trap();
    return 0;
  }
  if (!is_sound(policy.value()) || policy::describe(policy.value()).size() != 16) __builtin_trap();
  const std::string argv[] = {"/usr/bin/git", "push"};
  (void)policy::evaluate_command(policy.value(), argv);
  return 0;
}
