// SPDX-License-Identifier: Apache-2.0
// Which backend a sandbox gets: never a weaker boundary than what was asked for, and `auto` never one that is none.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "backend/backend.hpp"
#include "policy/policy.hpp"

namespace sandforge::engine {

using Backends = std::vector<std::unique_ptr<backend::Backend>>;

struct BackendChoice {
  backend::Backend* backend = nullptr;  // borrowed from the list
  backend::Probe probe;
};

// `name` empty or "auto": the first of the list that probes well and gives at least `min_isolation` (None counts as
// UserKernel). The SDK's default "macos-vz" means auto where no such backend exists. Auto keeps to the backends and the
// isolation that `policy` allows, if there is one; a named backend is judged by it.
// Errors: invalid_argument "unknown_backend"; unsupported "backend_unavailable", "isolation_too_low", "no_backend";
// denied "policy_denied".
base::Result<BackendChoice> choose_backend(const Backends& backends, std::string_view name,
                                           backend::Isolation min_isolation, const policy::Policy* policy = nullptr);

// Whether `name` leaves the choice to the engine.
bool means_auto(const Backends& backends, std::string_view name);

const char* isolation_name(backend::Isolation isolation) noexcept;

}  // namespace sandforge::engine
