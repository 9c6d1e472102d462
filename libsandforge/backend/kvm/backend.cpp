// SPDX-License-Identifier: Apache-2.0
#include "backend/kvm/backend.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "backend/guest_cgroup.hpp"
#include "backend/kernel_command_line.hpp"
#include "backend/kvm/worker.hpp"
#include "backend/kvm_state.hpp"
#include "backend/privilege.hpp"
#include "backend/process_worker.hpp"
#include "base/helpers.hpp"
#include "base/limits.hpp"
#include "base/process.hpp"
#include "base/pseudo_file.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/monitor/config.hpp"

namespace sandforge::backend {
namespace {

constexpr const char* kMonitor = "sandforge-vmm";

// The jail needs a user namespace, made by an unprivileged process. The switches of Debian, of all kernels, of Ubuntu.
base::Status check_user_namespaces() {
  struct Switch {
    const char* file;
    const char* forbids;
    const char* remedy;
  };
  constexpr Switch kSwitches[] = {
      {"/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"},
      {"/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"},
      {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1",
       "sysctl kernel.apparmor_restrict_unprivileged_userns=0"},
  };
  for (const Switch& one : kSwitches) {
    if (base::read_pseudo_file(one.file) != one.forbids) continue;
    return base::make_error(
        base::Code::Denied, "user_namespaces",
        std::string("this host forbids the user namespaces that a monitor is jailed in (") + one.file + ")",
        one.remedy);
  }
  return {};
}

class KvmBackend final : public Backend {
 public:
  explicit KvmBackend(KvmOptions options) : options_(std::move(options)) {}

  const char* name() const override { return "linux-kvm"; }
  Probe probe() const override;
  base::Result<std::unique_ptr<Worker>> launch(const LaunchPlan& plan) override;

 private:
  base::Result<base::UniqueFd> open_device() const;

  const KvmOptions options_;
  const std::shared_ptr<GuestIds> ids_ = std::make_shared<GuestIds>();
};

base::Result<base::UniqueFd> KvmBackend::open_device() const {
  base::UniqueFd device(::open(options_.device.c_str(), O_RDWR | O_CLOEXEC));
  if (device) return device;
  return base::os_error("open " + options_.device).with_remedy(explain(kvm_state(options_.device.c_str())).remedy);
}

Probe KvmBackend::probe() const {
  Probe probe;
#if !defined(__linux__) || !defined(__x86_64__)
  probe.reason = "linux-kvm runs on x86_64 Linux hosts only";
  probe.remedy = "use a host with an x86_64 CPU";
  return probe;
#endif
  const auto refuse = [&probe](const base::Error& error) {
    probe.reason = error.message;
    probe.remedy = error.remedy;
    return probe;
  };
  if (const KvmState state = kvm_state(options_.device.c_str()); state != KvmState::Usable) {
    const KvmAdvice advice = explain(state);
    probe.reason = advice.finding;
    probe.remedy = advice.remedy;
    return probe;
  }
  const auto device = open_device();
  if (!device) return refuse(device.error());
  const auto facts = vmm::check_kvm(device.value().get());
  if (!facts) return refuse(facts.error());
  if (const auto allowed = check_user_namespaces(); !allowed) return refuse(allowed.error());
  const auto monitor = base::find_helper(kMonitor, options_.helper_directory);
  if (!monitor) return refuse(monitor.error());
  probe.available = true;
  probe.isolation = Isolation::HardwareVm;
  probe.detail = "KVM, up to " + std::to_string(facts.value().vcpus_max) + " vCPUs, " + find_cgroup_place().describe();
  return probe;
}

base::Status send_config(int control, const LaunchPlan& plan) {
  vmm::Config config;
  config.cpus = plan.cpus;
  config.memory_mib = plan.memory_mib;
  config.serial = 1;
  KernelBootFacts facts;
  facts.serial_console = true;
  config.command_line = kernel_command_line(facts) + " sandforge.channel=vsock-out:" + std::to_string(vmm::kAgentPort);
  const std::string packet = wire::encode(config);
  if (::send(control, packet.data(), packet.size(), MSG_NOSIGNAL) != static_cast<ssize_t>(packet.size())) {
    return base::os_error("configure the monitor");
  }
  return {};
}

base::Result<GuestCgroup> make_cgroup(const LaunchPlan& plan) {
  const std::uint64_t guest = plan.memory_mib * limits::kMiB;
  CgroupLimits limits;
  limits.memory_bytes = guest + guest / 64 + limits::kMonitorOverheadBytes;  // page tables grow with the guest
  limits.processes = plan.cpus + 8;  // threads: its own, and what the kernel may start for KVM
  limits.cpus = plan.cpus + 1;       // and the device loop
  return GuestCgroup::create(find_cgroup_place(), cgroup_owner(plan.directory.parent_path()), limits);
}

base::Result<std::unique_ptr<Worker>> KvmBackend::launch(const LaunchPlan& plan) {
  SANDFORGE_TRY(const std::filesystem::path monitor, base::find_helper(kMonitor, options_.helper_directory));
  SANDFORGE_TRY(const base::UniqueFd device, open_device());
  SANDFORGE_TRY(LaunchFiles files, open_launch_files(plan));
  // Run by descriptor: the folder may be out of reach for the guest's user id, and nobody can swap the file meanwhile.
  const base::UniqueFd program(::open(monitor.c_str(), O_RDONLY | O_CLOEXEC));
  if (!program) return base::os_error("open " + monitor.string());
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    return base::os_error("make a control socket");
  }
  base::UniqueFd ours(ends[0]);
  const base::UniqueFd theirs(ends[1]);
  base::UniqueFd listener;
  if (plan.outlives_engine) {
    SANDFORGE_TRY(listener, listen_in(files.directory.get(), kControlSocket, SOCK_SEQPACKET));
  }
  SANDFORGE_TRY(GuestCgroup cgroup, make_cgroup(plan));

  base::SpawnOptions spawn;
  spawn.program = "/proc/self/fd/" + std::to_string(vmm::kProgramFd);
  spawn.fds = {{files.log_write.get(), vmm::kLogFd}, {files.log_write.get(), 2},
               {theirs.get(), vmm::kControlFd},      {device.get(), vmm::kKvmFd},
               {files.kernel.get(), vmm::kKernelFd}, {files.initrd.get(), vmm::kInitrdFd},
               {files.root.get(), vmm::kRootFd},     {files.disk.get(), vmm::kDiskFd},
               {files.agent.get(), vmm::kAgentFd},   {program.get(), vmm::kProgramFd}};
  if (listener) spawn.fds.emplace_back(listener.get(), vmm::kControlListenerFd);
  if (plan.file_server >= 0) spawn.fds.emplace_back(plan.file_server, vmm::kFileServerFd);
  spawn.die_with_parent = !plan.outlives_engine;
  spawn.own_pids = true;  // the other namespaces it enters by itself
  spawn.no_new_privs = true;
  spawn.max_open_files = limits::kMonitorOpenFiles;
  SANDFORGE_TRY(GuestId id, GuestId::take(ids_));
  spawn.uid = spawn.gid = id.number();  // 0 leaves them as they are
  SANDFORGE_TRY(const base::UniqueFd group, cgroup.open());
  spawn.cgroup = group.get();
  // It reads nothing of a guest's before it has its configuration, and that comes when its limits stand.
  SANDFORGE_TRY(base::Child child, base::spawn(spawn));
  SANDFORGE_TRY_STATUS(send_config(ours.get(), plan));
  base::UniqueFd exited(::fcntl(child.pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!exited) return base::os_error("watch the monitor");
  return make_kvm_worker(std::move(child), std::move(exited), files, std::move(ours), std::move(cgroup), std::move(id));
}

}  // namespace

std::unique_ptr<Backend> make_kvm_backend(KvmOptions options) {
  return std::make_unique<KvmBackend>(std::move(options));
}

}  // namespace sandforge::backend
