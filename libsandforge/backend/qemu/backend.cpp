// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/backend.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstdlib>
#include <mutex>
#include <utility>

#include "backend/kernel_command_line.hpp"
#include "backend/kvm_state.hpp"
#include "backend/privilege.hpp"
#include "backend/process_worker.hpp"
#include "backend/qemu/arguments.hpp"
#include "backend/qemu/tsc.hpp"
#include "base/process.hpp"

namespace sandforge::backend {
namespace {

constexpr const char* kProgram = "qemu-system-x86_64";
constexpr const char* kSystemPath = "/usr/local/bin:/usr/bin:/bin";
constexpr std::uint64_t kCountedKhz = 1'000'000;  // one instruction, one nanosecond, one tick
constexpr std::uint64_t kTimerKhz = 62'500;       // QEMU's APICs count nanoseconds, and Linux divides them by 16
constexpr std::uint64_t kQemuOpenFiles = 256;

bool world_readable(int fd) {
  struct stat info {};
  return ::fstat(fd, &info) == 0 && (info.st_mode & S_IROTH) != 0;
}

// "QEMU emulator version 7.2.22 (Debian …)" -> "7.2.22"; empty when it is not that.
std::string parse_version(std::string_view text) {
  constexpr std::string_view kBefore = "version ";
  const std::size_t at = text.find(kBefore);
  if (at == std::string_view::npos) return {};
  text.remove_prefix(at + kBefore.size());
  return std::string(text.substr(0, text.find_first_not_of("0123456789.")));
}

class QemuBackend final : public Backend {
 public:
  explicit QemuBackend(QemuOptions options) : options_(std::move(options)) {}

  const char* name() const override { return "linux-qemu"; }
  Probe probe() const override;
  base::Result<std::unique_ptr<Worker>> launch(const LaunchPlan& plan) override;

 private:
  std::string find() const;
  bool use_kvm() const { return !options_.counted && kvm_state(options_.kvm_device.c_str()) == KvmState::Usable; }
  std::string version_of(const std::string& program) const;
  base::Status drop_privilege(base::SpawnOptions& spawn, const LaunchFiles& files, bool kvm) const;

  const QemuOptions options_;
  const TscMeter tsc_;
  // Running the program costs 20 ms, so its answer is kept for as long as the file is the same one.
  mutable std::mutex mutex_;
  mutable std::string version_key_, version_;
};

std::string QemuBackend::find() const {
  std::string program = base::find_program(kProgram, options_.search_path);
  if (program.empty() && options_.search_path.empty()) program = base::find_program(kProgram, kSystemPath);
  return program;
}

std::string QemuBackend::version_of(const std::string& program) const {
  struct stat info {};
  if (::stat(program.c_str(), &info) != 0) return {};
  const std::string key = program + ":" + std::to_string(info.st_ino) + ":" + std::to_string(info.st_mtim.tv_sec);
  const std::lock_guard lock(mutex_);
  if (key != version_key_) {
    base::SpawnOptions spawn;
    spawn.program = program;
    spawn.args = {"--version"};
    auto result = base::run(std::move(spawn));
    version_ = result && result->ok() ? parse_version(result->out) : std::string{};
    version_key_ = key;
  }
  return version_;
}

Probe QemuBackend::probe() const {
  Probe probe;
#if !defined(__linux__) || !defined(__x86_64__)
  probe.reason = "linux-qemu runs x86_64 guests on x86_64 Linux hosts only";
  probe.remedy = "use a host with an x86_64 CPU";
  return probe;
#endif
  const std::string program = find();
  if (program.empty()) {
    probe.reason = std::string(kProgram) + " was not found";
    probe.remedy = "apt-get install qemu-system-x86";
    return probe;
  }
  const std::string version = version_of(program);
  if (version.empty()) {
    probe.reason = program + " does not tell its version when run with --version";
    probe.remedy = "apt-get install --reinstall qemu-system-x86";
    return probe;
  }
  probe.available = true;
  probe.isolation = Isolation::SoftwareVm;
  probe.detail = "qemu " + version + ", ";
  if (options_.counted) {
    probe.detail += "emulated CPU, counting instructions (for measurements only)";
    return probe;
  }
  const KvmState state = kvm_state(options_.kvm_device.c_str());
  if (state == KvmState::Usable) {
    probe.isolation = Isolation::HardwareVm;
    probe.detail += "KVM";
    return probe;
  }
  const KvmAdvice advice = explain(state);
  probe.detail += std::string("emulated CPU (") + advice.finding + ")";
  probe.remedy = advice.remedy;
  return probe;
}

// Root's QEMU runs as a user id that nobody else has: it may read what everybody may read, and write to its disk by
// the descriptor alone. An ordinary user's runs as that user. Refused where it would have to stay root.
base::Status QemuBackend::drop_privilege(base::SpawnOptions& spawn, const LaunchFiles& files, bool kvm) const {
  SANDFORGE_TRY(const std::uint32_t id, guest_id());
  if (id == 0) return {};
  // QEMU reopens these two by /proc/self/fd, which asks for permission once more.
  if (!world_readable(files.kernel.get()) || !world_readable(files.initrd.get())) {
    return base::make_error(base::Code::Denied, "image_unreadable",
                            "the guest's kernel or initrd is not readable for QEMU's own user id",
                            "chmod a+r the files of the image store, or build the image anew");
  }
  if (kvm) {
    struct stat device {};
    if (::stat(options_.kvm_device.c_str(), &device) != 0) return base::os_error("look at " + options_.kvm_device);
    const bool by_group = (device.st_mode & 0060) == 0060, by_all = (device.st_mode & 0006) == 0006;
    if (!by_group && !by_all) {
      return base::make_error(base::Code::Denied, "kvm_for_root_only",
                              options_.kvm_device + " is open to root alone, and QEMU does not run as root",
                              "chgrp kvm " + options_.kvm_device + " && chmod 660 " + options_.kvm_device);
    }
    if (by_group) spawn.groups = {device.st_gid};
  }
  spawn.uid = id;
  spawn.gid = id;
  return {};
}

base::Result<std::unique_ptr<Worker>> QemuBackend::launch(const LaunchPlan& plan) {
  const std::string program = find();
  if (program.empty()) {
    return base::make_error(base::Code::Unsupported, "backend_unavailable", std::string(kProgram) + " was not found",
                            "apt-get install qemu-system-x86");
  }
  SANDFORGE_TRY(LaunchFiles files, open_launch_files(plan));

  QemuMachine machine;
  machine.cpus = plan.cpus;
  machine.memory_mib = plan.memory_mib;
  machine.kvm = use_kvm();
  machine.counted = options_.counted;
  machine.file_server = plan.file_server >= 0;
  KernelBootFacts facts;
  facts.serial_console = true;
  facts.emulated_cpu = !machine.kvm;
  if (facts.emulated_cpu) {
    facts.tsc_khz = machine.counted ? kCountedKhz : tsc_.khz();
    facts.timer_khz = kTimerKhz;
  }
  machine.kernel_command_line = kernel_command_line(facts);

  const QemuDescriptors fds;
  base::SpawnOptions spawn;
  spawn.program = program;
  spawn.args = qemu_arguments(machine, fds);
  spawn.fds = {{files.log_write.get(), 1},       {files.log_write.get(), 2},       {files.agent.get(), fds.agent},
               {files.kernel.get(), fds.kernel}, {files.initrd.get(), fds.initrd}, {files.root.get(), fds.root},
               {files.disk.get(), fds.disk}};
  if (machine.file_server) spawn.fds.emplace_back(plan.file_server, fds.file_server);
  spawn.die_with_parent = true;
  spawn.empty_network = true;
  spawn.no_new_privs = true;
  spawn.max_open_files = kQemuOpenFiles;
  SANDFORGE_TRY_STATUS(drop_privilege(spawn, files, machine.kvm));
  SANDFORGE_TRY(base::Child child, base::spawn(spawn));
  base::UniqueFd exited(::fcntl(child.pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!exited) return base::os_error("watch qemu");
  return std::unique_ptr<Worker>(std::make_unique<ProcessWorker>(std::move(child), std::move(exited), files, "qemu"));
}

}  // namespace

QemuOptions qemu_options_from_environment() {
  QemuOptions options;
  const char* counted = std::getenv("SANDFORGE_QEMU_ICOUNT");
  options.counted = counted != nullptr && std::string_view(counted) == "1";
  return options;
}

std::unique_ptr<Backend> make_qemu_backend(QemuOptions options) {
  return std::make_unique<QemuBackend>(std::move(options));
}

}  // namespace sandforge::backend
