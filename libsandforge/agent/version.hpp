// SPDX-License-Identifier: Apache-2.0
// The version that the agent tells in Hello.
#pragma once

namespace sandforge::agent {

#ifdef SANDFORGE_VERSION
inline constexpr const char* kAgentVersion = SANDFORGE_VERSION;
#else
inline constexpr const char* kAgentVersion = "0.1.0";
#endif

}  // namespace sandforge::agent
