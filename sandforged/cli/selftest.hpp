// SPDX-License-Identifier: Apache-2.0
// What `sandforged doctor --selftest` does: the conformance suite and some figures, on this very host, as a report.
#pragma once

#include <sandforge/engine.hpp>

namespace sandforge::cli {

// BLOCKS for minutes. Report on standard output, progress on standard error; its sandboxes have a state directory of
// their own. True when every backend that is available passed. Throws sandforge::Error.
bool selftest(EngineOptions options);

}  // namespace sandforge::cli
