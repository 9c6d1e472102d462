// SPDX-License-Identifier: Apache-2.0
#include "engine/policy_gate.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <string_view>

#include "base/directories.hpp"
#include "base/limits.hpp"
#include "base/pseudo_file.hpp"
#include "image/file_io.hpp"

namespace sandforge::engine {
namespace fs = std::filesystem;
namespace {

using base::Code;

base::Error invalid_options(std::string message) {
  return base::make_error(Code::InvalidArgument, "invalid_options", std::move(message));
}

// One line of /etc/passwd: name:password:uid:gid:comment:home:shell.
struct Account {
  uid_t uid = 0;
  std::string home;
};
bool read_account(std::string_view line, Account& account) {
  std::string_view fields[6];
  for (std::string_view& field : fields) {
    const std::size_t end = line.find(':');
    if (end == std::string_view::npos) return false;
    field = line.substr(0, end);
    line.remove_prefix(end + 1);
  }
  const auto [stop, error] = std::from_chars(fields[2].data(), fields[2].data() + fields[2].size(), account.uid);
  account.home = fields[5];
  return error == std::errc() && stop == fields[2].data() + fields[2].size() && account.home.starts_with('/');
}

// Homes of people: root's and those of numbers from 1000 on. Services have homes such as /var/www, which are data.
// Directly from the file: a name service might wait for a server, and load code into the host program.
void find_homes(policy::HostFacts& host) {
  constexpr uid_t kFirstPerson = 1000, kNobody = 65534;
  constexpr std::size_t kPasswdMax = 4 * limits::kMiB;
  if (const fs::path home = base::path_from_environment("HOME"); !home.empty()) host.own_homes.push_back(home.string());
  const std::string text = base::read_pseudo_file("/etc/passwd", kPasswdMax);
  std::string_view rest = text;
  while (!rest.empty() && host.other_homes.size() < limits::kHomesMax) {
    const std::string_view line = rest.substr(0, rest.find('\n'));
    rest.remove_prefix(std::min(line.size() + 1, rest.size()));
    Account account;
    if (!read_account(line, account)) continue;
    if (account.uid == host.uid) {
      host.own_homes.push_back(std::move(account.home));
    } else if (account.uid == 0 || (account.uid >= kFirstPerson && account.uid != kNobody)) {
      host.other_homes.push_back(std::move(account.home));
    }
  }
}

policy::HostFacts host_facts(const EngineOptions& options, const Directories& directories) {
  policy::HostFacts host;
  host.uid = ::geteuid();
  find_homes(host);
  const auto keep = [&](fs::path path) {
    std::error_code error;
    if (!path.empty()) path = fs::absolute(path, error);
    if (!path.empty() && !error) host.state.push_back(path.lexically_normal().string());
  };
  keep(directories.state);
  keep(directories.images);
  // Only where somebody chose the place: beside the library, it may be in the very project that is to be mounted.
  keep(directories.helpers);
  keep(base::path_from_environment("SANDFORGE_HELPER_DIR"));
  if (!options.policy_file.empty()) keep(fs::path(options.policy_file));
  for (const std::string& path : options.protected_paths) keep(path);
  return host;
}

}  // namespace

base::Result<policy::Policy> load_policy(const EngineOptions& options, const Directories& directories) {
  if (static_cast<std::uint32_t>(options.audience) >= policy::kAudienceCount) {
    return invalid_options("audience is no audience");
  }
  if (!options.policy_file.empty() && options.policy_text) {
    return invalid_options("policy_file and policy_text are both given, but only one can apply");
  }
  policy::Policy policy = policy::defaults(options.audience);
  if (!options.policy_file.empty()) {
    auto text = image::read_file(options.policy_file, limits::kPolicyBytesMax);
    if (!text) return std::move(text).error().context("policy").with_remedy("name a policy file that can be read");
    SANDFORGE_TRY(policy, policy::parse(text.value(), options.policy_file.string(), std::move(policy)));
  } else if (options.policy_text) {
    SANDFORGE_TRY(policy, policy::parse(*options.policy_text, "policy", std::move(policy)));
  }
  policy.host = host_facts(options, directories);
  return policy;
}

SandboxSpec with_default_sizes(SandboxSpec spec, const policy::Policy& policy) {
  const auto settle = [](std::int64_t& value, std::int64_t fallback, std::int64_t most) {
    if (value == 0) value = std::min(fallback, most);
  };
  settle(spec.cpu, limits::kCpuDefault, policy.cpu.value);
  settle(spec.memory_mb, limits::kMemoryMbDefault, policy.memory_mb.value);
  settle(spec.disk_gb, limits::kDiskGbDefault, policy.disk_gb.value);
  settle(spec.timeout_sec, limits::kTimeoutSecDefault, policy.timeout_sec.value);
  return spec;
}

policy::SpecFacts facts_of(const SandboxSpec& spec, const Backends& backends) {
  policy::SpecFacts facts;
  facts.cpu = spec.cpu;
  facts.memory_mb = spec.memory_mb;
  facts.disk_gb = spec.disk_gb;
  facts.timeout_sec = spec.timeout_sec;
  facts.network_mode = spec.network_mode;
  if (!means_auto(backends, spec.backend)) facts.backend = spec.backend;
  for (const Mount& mount : spec.mounts) facts.mounts.push_back({mount.host_path, mount.read_only});
  return facts;
}

base::Result<policy::Judgement> explain_spec(const EngineOptions& options, SandboxSpec given) {
  const Directories directories = resolve_directories(options);
  SANDFORGE_TRY(const policy::Policy policy, load_policy(options, directories));
  SANDFORGE_TRY(const SandboxSpec spec, resolve_spec(with_default_sizes(std::move(given), policy)));
  const Backends backends = backend::make_backends(directories.helpers);
  return policy::evaluate(policy, facts_of(spec, backends));
}

}  // namespace sandforge::engine
