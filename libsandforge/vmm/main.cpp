// SPDX-License-Identifier: Apache-2.0
// sandforge-vmm: the monitor of one virtual machine. All it may touch comes as a descriptor (monitor/config.hpp); it
// opens nothing. Its exit status is how the guest ended (monitor/ending.hpp).
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>
#include <span>
#include <string>

#include "base/limits.hpp"
#include "jail/enter.hpp"
#include "vmm/monitor/config.hpp"
#include "vmm/monitor/machine.hpp"
#include "vmm/monitor/refusal.hpp"

namespace {

using namespace sandforge;

constexpr const char* kOneVersion = "install library and sandforge-vmm of one version";

[[noreturn]] void finish(vmm::Ending ending, const std::string& text) {
  if (!text.empty()) {
    const std::string line = "sandforge-vmm: " + text + "\n";
    (void)!::write(vmm::kLogFd, line.data(), line.size());
  }
  // Not exit(): vCPU threads are running, and nothing is left to tidy up.
  ::_exit(static_cast<int>(ending));
}

// The guest cannot be started: the owner is told by a packet on `control`, people by the log.
[[noreturn]] void refuse(int control, vmm::Ending ending, const base::Error& error) {
  vmm::Refusal refusal;
  refusal.code = error.code;
  refusal.reason = error.reason;
  refusal.message = error.message;
  refusal.remedy = error.remedy;
  const std::string packet = wire::encode(refusal);
  (void)::send(control, packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
  finish(ending, error.remedy.empty() ? error.message : error.message + "; " + error.remedy);
}

base::Result<vmm::Config> receive_config() {
  std::string packet(vmm::kConfigBytesMax, '\0');
  ssize_t n = 0;
  do {
    n = ::recv(vmm::kControlFd, packet.data(), packet.size(), MSG_TRUNC);
  } while (n < 0 && errno == EINTR);
  if (n < 0) return base::os_error("read the configuration");
  if (n == 0) return base::make_error(base::Code::Disconnected, {}, "the owner hung up before it said what to run");
  if (static_cast<std::size_t>(n) > packet.size()) {
    return base::make_error(base::Code::Corrupt, "bad_config", "the configuration is too long", kOneVersion);
  }
  return vmm::decode_config(std::string_view(packet).substr(0, static_cast<std::size_t>(n)));
}

}  // namespace

int main() {
  (void)std::signal(SIGPIPE, SIG_IGN);
  // A write beyond a limit on file sizes, which the guest can cause, is to be an error of the request.
  (void)std::signal(SIGXFSZ, SIG_IGN);
  jail::Options options;
  options.last_descriptor = vmm::kLastFd;
  options.limits = {limits::kMonitorOpenFiles, limits::kMonitorFileBytesMax};
  if (const auto jailed = jail::enter(options); !jailed) {
    refuse(vmm::kControlFd, vmm::Ending::BadRequest, jailed.error());
  }
  const auto config = receive_config();
  if (!config) refuse(vmm::kControlFd, vmm::Ending::BadRequest, config.error());
  using base::UniqueFd;
  // What may be absent.
  const bool listens = ::fcntl(vmm::kControlListenerFd, F_GETFD) >= 0;
  const bool serves_files = ::fcntl(vmm::kFileServerFd, F_GETFD) >= 0;
  vmm::MachineFiles files{vmm::kLogFd,
                          UniqueFd(vmm::kControlFd),
                          UniqueFd(vmm::kKvmFd),
                          UniqueFd(vmm::kKernelFd),
                          UniqueFd(vmm::kInitrdFd),
                          UniqueFd(vmm::kRootFd),
                          UniqueFd(vmm::kDiskFd),
                          UniqueFd(vmm::kAgentFd),
                          UniqueFd(listens ? vmm::kControlListenerFd : -1),
                          UniqueFd(serves_files ? vmm::kFileServerFd : -1),
                          {}};
  for (int i = 0; i < config.value().disk_layers; ++i) {
    const int map = vmm::kFirstLayerFd + 2 * i;
    // What is not there now could be a descriptor of our own later.
    if (::fcntl(map, F_GETFD) < 0 || ::fcntl(map + 1, F_GETFD) < 0) {
      refuse(vmm::kControlFd, vmm::Ending::BadRequest,
             base::make_error(base::Code::InvalidArgument, "bad_config", "a disk layer's descriptor is missing",
                              kOneVersion));
    }
    files.disk_layers.push_back({UniqueFd(map + 1), UniqueFd(map)});
  }
  // The private disk, and where it has layers the map of what lies on top.
  const int written[] = {vmm::kDiskFd, vmm::kFirstLayerFd};
  if (const auto limited = jail::limit_file_size(std::span(written).first(files.disk_layers.empty() ? 1 : 2));
      !limited) {
    refuse(vmm::kControlFd, vmm::Ending::BadRequest, limited.error());
  }
  ::close(vmm::kProgramFd);
  const int unused = vmm::kFirstLayerFd + 2 * config.value().disk_layers;
  (void)::syscall(SYS_close_range, static_cast<unsigned>(unused), static_cast<unsigned>(vmm::kFileServerFd - 1), 0);
  if (listens && ::fcntl(vmm::kControlListenerFd, F_SETFL, O_NONBLOCK) != 0) {
    refuse(vmm::kControlFd, vmm::Ending::Internal, base::os_error("set up the control listener"));
  }
  // The machine takes all descriptors with it when it cannot be made: a second one for the word about it.
  UniqueFd owner(::fcntl(vmm::kControlFd, F_DUPFD_CLOEXEC, vmm::kLastFd + 1));
  auto machine = vmm::Machine::create(config.value(), std::move(files));
  if (!machine) refuse(owner.get(), vmm::Ending::BadRequest, machine.error());
  owner.reset();
  ::close(0);
  const vmm::Finished finished = machine.value()->run();
  finish(finished.ending, finished.detail);
}
