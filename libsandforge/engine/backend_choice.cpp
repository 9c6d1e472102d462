// SPDX-License-Identifier: Apache-2.0
#include "engine/backend_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/spec.hpp"
#include "policy/evaluate.hpp"

namespace sandforge::engine {
namespace {

using backend::Isolation;
using base::Code;

// Names of the API that this release has no backend for: not a typing error, so the answer differs from "unknown".
constexpr std::array<std::string_view, 2> kLaterBackends = {"linux-firecracker", "linux-gvisor"};

bool is_backend(const Backends& backends, std::string_view name) {
  return std::ranges::any_of(backends, [&](const auto& candidate) { return candidate->name() == name; });
}

base::Result<BackendChoice> choose_auto(const Backends& backends, Isolation min_isolation,
                                        const policy::Policy* policy) {
  Isolation least = std::max(min_isolation, Isolation::UserKernel);
  if (policy != nullptr) least = std::max(least, static_cast<Isolation>(policy->min_isolation.value));
  std::string reasons, remedies;
  for (const auto& candidate : backends) {
    backend::Probe probe = candidate->probe();
    const bool allowed = policy == nullptr || policy::allows_backend(*policy, candidate->name());
    if (allowed && probe.available && probe.isolation >= least) return BackendChoice{candidate.get(), std::move(probe)};
    if (probe.available && probe.isolation == Isolation::None) continue;  // never meant for auto: not worth a word
    std::string why = probe.available ? fmt::format("gives only {}", isolation_name(probe.isolation)) : probe.reason;
    if (!allowed) {
      why = "is not among backends.allow of the policy";
      probe.remedy.clear();
    }
    reasons += fmt::format("{}{}: {}", reasons.empty() ? "" : "; ", candidate->name(), why);
    if (!probe.remedy.empty()) remedies += fmt::format("{}{}", remedies.empty() ? "" : "; or ", probe.remedy);
  }
  return base::make_error(
      Code::Unsupported, "no_backend",
      fmt::format("no backend of this host gives isolation {} or better{}{}", isolation_name(least),
                  reasons.empty() ? "" : ": ", reasons),
      remedies.empty() ? "run `sandforged doctor` to see what this host can do" : std::move(remedies));
}

base::Error unknown_backend(const Backends& backends, std::string_view name) {
  if (std::ranges::find(kLaterBackends, name) != kLaterBackends.end()) {
    return base::make_error(Code::Unsupported, "backend_unavailable",
                            fmt::format("backend \"{}\" is not part of this release", name),
                            "use backend \"auto\", which takes the best that this host offers");
  }
  std::string known = "auto";
  for (const auto& candidate : backends) known += fmt::format(", {}", candidate->name());
  return base::make_error(Code::InvalidArgument, "unknown_backend",
                          fmt::format("unknown backend \"{}\"; known are {}", printable(name), known));
}

}  // namespace

const char* isolation_name(Isolation isolation) noexcept {
  switch (isolation) {
    case Isolation::None: return "none";
    case Isolation::UserKernel: return "user_kernel";
    case Isolation::SoftwareVm: return "software_vm";
    case Isolation::HardwareVm: return "hardware_vm";
  }
  return "unknown";
}

bool means_auto(const Backends& backends, std::string_view name) {
  // The last is what the published SDK sends when its user chose nothing.
  return name.empty() || name == "auto" || (name == "macos-vz" && !is_backend(backends, name));
}

base::Result<BackendChoice> choose_backend(const Backends& backends, std::string_view name, Isolation min_isolation,
                                           const policy::Policy* policy) {
  if (means_auto(backends, name)) return choose_auto(backends, min_isolation, policy);
  const auto found = std::ranges::find_if(backends, [&](const auto& candidate) { return candidate->name() == name; });
  if (found == backends.end()) return unknown_backend(backends, name);
  backend::Probe probe = (*found)->probe();
  if (!probe.available) {
    return base::make_error(Code::Unsupported, "backend_unavailable",
                            fmt::format("backend \"{}\" is not available: {}", name, probe.reason), probe.remedy);
  }
  if (probe.isolation < min_isolation) {
    return base::make_error(Code::Unsupported, "isolation_too_low",
                            fmt::format("backend \"{}\" gives isolation {}, but at least {} is demanded", name,
                                        isolation_name(probe.isolation), isolation_name(min_isolation)),
                            "use backend \"auto\", or lower the engine's min_isolation");
  }
  if (policy != nullptr) {
    const auto verdict = policy::evaluate_backend(*policy, name, static_cast<std::uint32_t>(probe.isolation));
    if (!verdict.allowed) return policy::to_error(verdict, "spec: backend");
  }
  return BackendChoice{found->get(), std::move(probe)};
}

}  // namespace sandforge::engine
