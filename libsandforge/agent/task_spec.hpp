// SPDX-License-Identifier: Apache-2.0
// TaskSpec: an exec request with every default filled in, ready to be handed to a freshly cloned child.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "agent/users.hpp"
#include "base/result.hpp"
#include "wire/messages.hpp"

namespace sandforge::agent {

inline constexpr std::string_view kDefaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

struct TaskSpec {
  std::vector<std::string> argv;
  std::vector<std::string> env;
  std::vector<std::string> candidates;  // paths to try in order, never empty
  std::string cwd;
  User user;
};

// invalid_argument, saying what is wrong, before anything is made.
base::Status check_exec(const wire::ExecRequest& request);

// Precondition: check_exec was fine.
TaskSpec make_spec(const wire::ExecRequest& request, User user);

// Pointers into strings that outlive it, with a null pointer at the end: what execve wants.
std::vector<char*> pointers_of(std::vector<std::string>& strings);

}  // namespace sandforge::agent
