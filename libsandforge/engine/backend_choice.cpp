// SPDX-License-Identifier: Apache-2.0
#include "engine/backend_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/spec.hpp"

namespace sandforge::engine {
namespace {

using backend::Isolation;
using base::Code;

// Names of the API that this release has no backend for: not a typing error, so the answer differs from "unknown".
constexpr std::array<std::string_view, 2> kLaterBackends = {"linux-firecracker", "linux-gvisor"};

base::Result<BackendChoice> choose_auto(const Backends& backends, Isolation min_isolation) {
  const Isolation least = std::max(min_isolation, Isolation::UserKernel);
  std::string reasons, remedies;
  for (const auto& candidate : backends) {
    backend::Probe probe = candidate->probe();
    if (probe.available && probe.isolation >= least) return BackendChoice{candidate.get(), std::move(probe)};
    if (probe.available && probe.isolation == Isolation::None) continue;  // never meant for auto: not worth a word
    const std::string why =
        probe.available ? fmt::format("gives only {}", isolation_name(probe.isolation)) : probe.reason;
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

base::Result<BackendChoice> choose_backend(const Backends& backends, std::string_view name, Isolation min_isolation) {
  if (name.empty() || name == "auto") return choose_auto(backends, min_isolation);
  const auto found = std::ranges::find_if(backends, [&](const auto& candidate) { return candidate->name() == name; });
  if (found == backends.end()) {
    // What the published SDK sends when its user chose nothing.
    if (name == "macos-vz") return choose_auto(backends, min_isolation);
    return unknown_backend(backends, name);
  }
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
  return BackendChoice{found->get(), std::move(probe)};
}

}  // namespace sandforge::engine
