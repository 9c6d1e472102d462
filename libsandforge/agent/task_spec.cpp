// SPDX-License-Identifier: Apache-2.0
#include "agent/task_spec.hpp"

#include <algorithm>

namespace sandforge::agent {

namespace {
base::Error invalid(const char* what) { return base::make_error(base::Code::InvalidArgument, "bad_command", what); }

bool has_nul(const std::string& text) { return text.find('\0') != std::string::npos; }

std::string_view key_of(std::string_view entry) { return entry.substr(0, entry.find('=')); }

// The last entry of a key wins, as for env(1).
void set_variable(std::vector<std::string>& env, std::string entry) {
  const auto same = std::find_if(env.begin(), env.end(), [&](const auto& e) { return key_of(e) == key_of(entry); });
  if (same == env.end()) {
    env.push_back(std::move(entry));
  } else {
    *same = std::move(entry);
  }
}

std::string_view value_of(const std::vector<std::string>& env, std::string_view key) {
  for (const std::string& entry : env) {
    if (key_of(entry) == key) return std::string_view(entry).substr(key.size() + 1);
  }
  return {};
}

std::vector<std::string> candidates_of(const std::string& program, std::string_view path) {
  if (program.find('/') != std::string::npos) return {program};
  std::vector<std::string> found;
  while (true) {
    const std::size_t end = path.find(':');
    const std::string_view directory = path.substr(0, end);
    // An empty entry means the current directory.
    found.push_back(directory.empty() ? "./" + program : std::string(directory) + "/" + program);
    if (end == std::string_view::npos) return found;
    path.remove_prefix(end + 1);
  }
}
}  // namespace

base::Status check_exec(const wire::ExecRequest& request) {
  if (request.argv.empty() || request.argv.front().empty()) return invalid("the command is empty");
  if (std::any_of(request.argv.begin(), request.argv.end(), has_nul)) return invalid("an argument has a NUL in it");
  for (const std::string& entry : request.env) {
    const std::size_t equals = entry.find('=');
    if (has_nul(entry) || equals == std::string::npos || equals == 0) return invalid("an environment entry is bad");
  }
  if (!request.cwd.empty() && (request.cwd.front() != '/' || has_nul(request.cwd))) {
    return invalid("the working directory is not an absolute path");
  }
  if (has_nul(request.user)) return invalid("the user has a NUL in it");
  return {};
}

TaskSpec make_spec(const wire::ExecRequest& request, User user) {
  TaskSpec spec;
  spec.argv = request.argv;
  spec.env = {"PATH=" + std::string(kDefaultPath), "HOME=" + user.home, "LANG=C.UTF-8"};
  for (const std::string& entry : request.env) set_variable(spec.env, entry);
  spec.candidates = candidates_of(spec.argv.front(), value_of(spec.env, "PATH"));
  spec.cwd = request.cwd.empty() ? "/" : request.cwd;
  spec.user = std::move(user);
  return spec;
}

std::vector<char*> pointers_of(std::vector<std::string>& strings) {
  std::vector<char*> pointers;
  pointers.reserve(strings.size() + 1);
  for (std::string& text : strings) pointers.push_back(text.data());
  pointers.push_back(nullptr);
  return pointers;
}

}  // namespace sandforge::agent
