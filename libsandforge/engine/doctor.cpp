// SPDX-License-Identifier: Apache-2.0
#include "engine/doctor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/statvfs.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include <algorithm>

#include "backend/kvm_state.hpp"
#include "base/helpers.hpp"
#include "base/limits.hpp"
#include "base/process.hpp"
#include "base/pseudo_file.hpp"
#include "engine/policy_gate.hpp"
#include "image/store.hpp"

namespace sandforge::engine {
namespace fs = std::filesystem;
namespace {

// The nearest ancestor that exists: what a missing directory would be made in.
fs::path existing_part(fs::path path) {
  std::error_code error;
  while (path.has_relative_path() && !fs::exists(path, error)) path = path.parent_path();
  return path.empty() ? fs::path("/") : path;
}

Check check_state_dir(const Directories& directories) {
  Check check{"state_dir", CheckStatus::Fine, directories.state.string(), {}};
  if (directories.state.empty()) {
    return {"state_dir", CheckStatus::StopsSandboxes, "none given, and neither XDG_STATE_HOME nor HOME is set",
            "name a state directory (--state-dir)"};
  }
  const fs::path where = existing_part(directories.state);
  if (::access(where.c_str(), W_OK | X_OK) != 0) {
    check.status = CheckStatus::StopsSandboxes;
    check.detail = fmt::format("{}: {} is not writable for this user", directories.state.string(), where.string());
    check.remedy = "name a state directory that this user can write (--state-dir), or run as root";
  }
  return check;
}

Check check_disk_space(const Directories& directories) {
  constexpr std::uint64_t kLittle = 2 * limits::kGiB;
  struct statvfs space {};
  const fs::path where = existing_part(directories.state);
  if (::statvfs(where.c_str(), &space) != 0) {
    return {"disk", CheckStatus::CouldBeBetter, base::os_error("cannot ask " + where.string()).message, {}};
  }
  const std::uint64_t free = space.f_bavail * space.f_frsize;
  Check check{"disk", CheckStatus::Fine, fmt::format("{} MiB free in {}", free / limits::kMiB, where.string()), {}};
  if (free < kLittle) {
    check.status = CheckStatus::CouldBeBetter;
    check.remedy = "free some space, or name a state directory on a larger disk (--state-dir)";
  }
  return check;
}

Check check_memory() {
  const long pages = ::sysconf(_SC_AVPHYS_PAGES), size = ::sysconf(_SC_PAGESIZE);
  const std::uint64_t free_mib = static_cast<std::uint64_t>(pages) * static_cast<std::uint64_t>(size) / limits::kMiB;
  Check check{"memory", CheckStatus::Fine, fmt::format("{} MiB free", free_mib), {}};
  if (free_mib < static_cast<std::uint64_t>(limits::kMemoryMbDefault)) {
    check.status = CheckStatus::CouldBeBetter;
    check.remedy = fmt::format("a sandbox takes {} MiB unless its memory_mb says less", limits::kMemoryMbDefault);
  }
  return check;
}

Check check_image(const Directories& directories) {
  auto store = image::Store::open(directories.images, false);
  base::Error error;
  if (store) {
    auto files = store->resolve("default");
    if (files) return {"image", CheckStatus::Fine, fmt::format("default, {}", files->digest), {}};
    error = std::move(files).error();
  } else {
    error = std::move(store).error();
  }
  return {"image", CheckStatus::StopsSandboxes, error.message, "sandforged image build"};
}

Check check_agent(const Directories& directories) {
  auto agent = base::find_helper("sandforge-agent", directories.helpers);
  if (agent) return {"agent", CheckStatus::Fine, agent->string(), {}};
  return {"agent", CheckStatus::StopsSandboxes, agent.error().message, agent.error().remedy};
}

Check check_kvm() {
  const backend::KvmState state = backend::kvm_state();
  if (state == backend::KvmState::Usable) {
    const backend::KvmAdvice slow =
        backend::slow_settings(base::read_pseudo_file("/sys/module/kvm/parameters/nx_huge_pages"),
                               base::read_pseudo_file("/sys/devices/system/cpu/vulnerabilities/itlb_multihit"),
                               base::read_pseudo_file("/proc/mounts", 64 * limits::kKiB));
    if (*slow.finding == '\0') return {"kvm", CheckStatus::Fine, "/dev/kvm", {}};
    return {"kvm", CheckStatus::CouldBeBetter, fmt::format("/dev/kvm; {}", slow.finding), slow.remedy};
  }
  const backend::KvmAdvice advice = backend::explain(state);
  return {"kvm", CheckStatus::CouldBeBetter, fmt::format("{}: guests run with an emulated CPU, slowly", advice.finding),
          advice.remedy};
}

Check check_policy(const EngineOptions& options, const Directories& directories) {
  const auto policy = load_policy(options, directories);
  if (!policy) return {"policy", CheckStatus::StopsSandboxes, policy.error().message, policy.error().remedy};
  const std::string source = policy.value().file.empty() ? "built in" : policy.value().file;
  return {"policy", CheckStatus::Fine, fmt::format("{} ({})", source, audience_name(options.audience)), {}};
}

Check check_mke2fs() {
  std::string file = base::find_program("mke2fs");
  if (file.empty()) file = base::find_program("mke2fs", "/usr/sbin:/sbin");
  if (!file.empty()) return {"mke2fs", CheckStatus::Fine, file, {}};
  return {"mke2fs", CheckStatus::StopsSandboxes, "mke2fs, which makes the private disks, was not found",
          "apt-get install e2fsprogs"};
}

// One line for each backend; without any that `auto` could take, the last one says that nothing will run.
void check_backends(const EngineOptions& options, std::vector<Check>& checks) {
  const Backends backends = backend::make_backends(options.helper_dir);
  auto choice = choose_backend(backends, {}, options.min_isolation);
  for (const auto& candidate : backends) {
    const backend::Probe probe = candidate->probe();
    if (probe.isolation == backend::Isolation::None && probe.available) continue;  // for tests: nothing to repair
    Check check{candidate->name(), CheckStatus::Fine, {}, {}};
    if (probe.available) {
      check.detail = fmt::format("{} ({})", probe.detail, isolation_name(probe.isolation));
    } else {
      check.status = choice ? CheckStatus::CouldBeBetter : CheckStatus::StopsSandboxes;
      check.detail = probe.reason;
      check.remedy = probe.remedy;
    }
    checks.push_back(std::move(check));
  }
  if (choice) {
    checks.push_back({"backend", CheckStatus::Fine, fmt::format("auto takes {}", choice->backend->name()), {}});
  } else {
    checks.push_back({"backend", CheckStatus::StopsSandboxes, choice.error().message, choice.error().remedy});
  }
}

}  // namespace

std::vector<Check> examine_host(const EngineOptions& options) {
  const Directories directories = resolve_directories(options);
  std::vector<Check> checks;
  checks.push_back(check_state_dir(directories));
  checks.push_back(check_disk_space(directories));
  checks.push_back(check_memory());
  checks.push_back(check_agent(directories));
  checks.push_back(check_mke2fs());
  checks.push_back(check_image(directories));
  checks.push_back(check_policy(options, directories));
  checks.push_back(check_kvm());
  check_backends(options, checks);
  return checks;
}

}  // namespace sandforge::engine
