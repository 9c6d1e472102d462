// SPDX-License-Identifier: Apache-2.0
// A directory of the host that a mount names: judged by the policy, then opened, and the same one.
#pragma once

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "engine/spec.hpp"
#include "policy/evaluate.hpp"

namespace sandforge::engine {

// O_PATH. BLOCKS as long as the host's file systems do. Errors: the policy's refusal; those of
// policy::resolve_directory; busy "host_path_changed" when it was replaced between the two.
base::Result<base::UniqueFd> open_host_directory(const policy::Policy& policy, const Mount& mount);
// One that was judged before.
base::Result<base::UniqueFd> open_judged(const policy::ResolvedDirectory& directory);

}  // namespace sandforge::engine
