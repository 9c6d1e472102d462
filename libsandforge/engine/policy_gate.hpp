// SPDX-License-Identifier: Apache-2.0
// Where the engine meets its policy: how it comes by one, and what it asks it about a spec.
#pragma once

#include "engine/backend_choice.hpp"
#include "engine/core.hpp"
#include "engine/engine.hpp"
#include "engine/spec.hpp"
#include "policy/evaluate.hpp"

namespace sandforge::engine {

// The policy that the options mean: the defaults of their audience under the text or the file that they name, with what
// it needs to know of this host. Reads the environment, the policy file and /etc/passwd.
// Errors: invalid_argument "invalid_policy" (file, line, column), "invalid_options"; of the file by errno.
base::Result<policy::Policy> load_policy(const EngineOptions& options, const Directories& directories);

// The spec with every size that it leaves open set to its default, or to what the policy allows where that is less:
// asking for nothing is never refused for its size.
SandboxSpec with_default_sizes(SandboxSpec spec, const policy::Policy& policy);

// A resolved spec as the policy sees it. `backends` tells which names are backends here: what the SDK sends for "any"
// is none of them.
policy::SpecFacts facts_of(const SandboxSpec& spec, const Backends& backends);

// What create would say about each part of a spec, without an engine: nothing is made.
// Errors: those of load_policy, and of resolve_spec.
base::Result<policy::Judgement> explain_spec(const EngineOptions& options, SandboxSpec spec);

}  // namespace sandforge::engine
