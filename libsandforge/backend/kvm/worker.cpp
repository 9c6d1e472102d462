// SPDX-License-Identifier: Apache-2.0
#include "backend/kvm/worker.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#include <array>
#include <charconv>

#include "base/pseudo_file.hpp"
#include "base/wait.hpp"
#include "vmm/monitor/refusal.hpp"

namespace sandforge::backend {
namespace {

using std::chrono::steady_clock;

std::string status_text(int wait_status) {
  if (!WIFEXITED(wait_status)) return "monitor " + base::describe_wait_status(wait_status);
  return vmm::describe(static_cast<std::uint8_t>(WEXITSTATUS(wait_status)));
}

std::string boot_id() { return base::read_pseudo_file("/proc/sys/kernel/random/boot_id"); }

// In clock ticks since the host's boot; 0 when there is no such process. SPEC: proc(5), field 22 of stat, counted from
// the state after the name, which may hold anything but ends with the last ')'.
std::uint64_t start_time(std::uint32_t pid) {
  const std::string stat = base::read_pseudo_file("/proc/" + std::to_string(pid) + "/stat");
  std::size_t at = stat.rfind(')');
  if (at == std::string::npos) return 0;
  for (int field = 2; field < 22; ++field) {
    at = stat.find(' ', at + 1);
    if (at == std::string::npos) return 0;
  }
  std::uint64_t value = 0;
  (void)std::from_chars(stat.data() + at + 1, stat.data() + stat.size(), value);
  return value;
}

constexpr const char* kDestroy = "destroy the sandbox";

base::Error gone() {
  return base::make_error(base::Code::NotFound, "guest_gone", "the guest's monitor has ended", "create a new sandbox");
}
base::Error hung_up() {
  return base::make_error(base::Code::Disconnected, "monitor_gone", "the guest's monitor has hung up", kDestroy);
}
base::Error silent() {
  return base::make_error(base::Code::TimedOut, "monitor_silent", "the guest's monitor does not answer",
                          "try again on a host with less load, or destroy the sandbox");
}

}  // namespace

KvmWorker::KvmWorker(ProcessWorker process, base::UniqueFd control, GuestCgroup cgroup, GuestId id, KvmRecord record,
                     std::chrono::milliseconds patience)
    : id_(std::move(id)),
      cgroup_(std::move(cgroup)),
      process_(std::move(process)),
      control_(std::move(control)),
      record_(std::move(record)),
      patience_(patience) {}

// One answer, whatever it is about; disconnected when the monitor has hung up.
base::Result<vmm::ControlAnswer> KvmWorker::read_answer(steady_clock::time_point until) {
  for (;;) {
    std::array<char, 256> buffer;
    const ssize_t n = ::recv(control_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    if (n > 0) return wire::decode<vmm::ControlAnswer>({buffer.data(), static_cast<std::size_t>(n)});
    if (n == 0 || (errno != EAGAIN && errno != EINTR)) return hung_up();
    if (!base::wait_for(control_.get(), POLLIN, until)) return silent();
  }
}

base::Status KvmWorker::send_packet(const std::string& packet, steady_clock::time_point until) {
  for (;;) {
    const ssize_t n = ::send(control_.get(), packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n == static_cast<ssize_t>(packet.size())) return {};
    if (n >= 0 || (errno != EAGAIN && errno != EINTR)) return hung_up();
    if (!base::wait_for(control_.get(), POLLOUT, until)) return silent();
  }
}

base::Result<vmm::ControlAnswer> KvmWorker::ask(vmm::ControlKind kind, std::uint64_t value) {
  vmm::ControlRequest request;
  request.kind = static_cast<std::uint16_t>(kind);
  request.id = next_id_++;
  request.value = value;
  const std::string packet = wire::encode(request);
  const auto until = steady_clock::now() + patience_;
  SANDFORGE_TRY_STATUS(send_packet(packet, until));
  for (;;) {
    SANDFORGE_TRY(const vmm::ControlAnswer answer, read_answer(until));
    // Others: that the guest was started, or the answer to a question that was given up.
    if (answer.kind != request.kind || answer.id != request.id) {
      if (steady_clock::now() >= until) return silent();  // however much else it says
      continue;
    }
    switch (static_cast<vmm::ControlResult>(answer.result)) {
      case vmm::ControlResult::Ok: return answer;
      case vmm::ControlResult::WrongState:
        return base::make_error(base::Code::Conflict, "wrong_state", "a pause is under way",
                                "wait for it, or resume the sandbox");
      case vmm::ControlResult::BadValue:
        return base::make_error(base::Code::InvalidArgument, "bad_value", "more than the guest has",
                                "ask for less than the sandbox's memory");
      case vmm::ControlResult::Unknown: break;
    }
    return base::make_error(base::Code::Unsupported, "old_monitor", "the guest's monitor does not know this request",
                            "install library and sandforge-vmm of one version, and create the sandbox again");
  }
}

base::Status KvmWorker::pause() {
  SANDFORGE_TRY([[maybe_unused]] const auto answer, ask(vmm::ControlKind::Pause, 0));
  return {};
}

base::Status KvmWorker::resume() {
  SANDFORGE_TRY([[maybe_unused]] const auto answer, ask(vmm::ControlKind::Resume, 0));
  return {};
}

base::Status KvmWorker::set_balloon(std::uint64_t bytes) {
  SANDFORGE_TRY([[maybe_unused]] const auto answer, ask(vmm::ControlKind::BalloonTarget, bytes));
  return {};
}

std::optional<base::Error> KvmWorker::refusal() {
  constexpr int kPackets = 64;  // more than a monitor that never ran its guest has sent
  std::array<char, vmm::kRefusalBytesMax> buffer;
  for (int i = 0; i < kPackets; ++i) {
    const ssize_t n = ::recv(control_.get(), buffer.data(), buffer.size(), MSG_DONTWAIT);
    // A reset comes before what was sent, when the monitor had not read all that we sent.
    if (n < 0 && (errno == EINTR || errno == ECONNRESET)) continue;
    if (n <= 0) return std::nullopt;
    auto refusal = wire::decode<vmm::Refusal>({buffer.data(), static_cast<std::size_t>(n)});
    if (!refusal || refusal->magic != vmm::Refusal::kMagic) continue;
    if (refusal->code == base::Code::Ok) refusal->code = base::Code::Internal;
    return base::make_error(refusal->code, std::move(refusal->reason), std::move(refusal->message),
                            std::move(refusal->remedy));
  }
  return std::nullopt;
}

std::string KvmWorker::describe_exit() {
  std::string text = process_.describe_exit();
  if (process_.pid() != 0 || text != "guest ended") return text;
  // Adopted: no wait status is ours, but the monitor's last word may have come.
  for (auto answer = read_answer(steady_clock::now()); answer; answer = read_answer(steady_clock::now())) {
    if (answer.value().kind != static_cast<std::uint16_t>(vmm::ControlKind::Ended)) continue;
    return std::string("guest ") + vmm::describe(static_cast<std::uint8_t>(answer.value().value));
  }
  return text;
}

void KvmWorker::leave() noexcept {
  cgroup_.leave();
  process_.leave();
}

base::Result<std::unique_ptr<Worker>> make_kvm_worker(base::Child child, base::UniqueFd exited, LaunchFiles& files,
                                                      base::UniqueFd control, GuestCgroup cgroup, GuestId id) {
  KvmRecord record;
  record.pid = static_cast<std::uint32_t>(child.pid());
  record.start_time = start_time(record.pid);
  record.boot_id = boot_id();
  record.user = id.number();
  record.cgroup = cgroup.path();
  ProcessWorker process(std::move(child), std::move(exited), files, "guest", status_text);
  return std::unique_ptr<Worker>(std::make_unique<KvmWorker>(std::move(process), std::move(control), std::move(cgroup),
                                                             std::move(id), std::move(record)));
}

base::Result<std::unique_ptr<KvmWorker>> adopt_kvm(const KvmRecord& record, const std::filesystem::path& directory,
                                                   std::shared_ptr<GuestIds> ids) {
  if (record.magic != KvmRecord::kMagic || record.pid == 0 || record.boot_id != boot_id()) return gone();
  base::UniqueFd pidfd(static_cast<int>(::syscall(SYS_pidfd_open, record.pid, 0)));
  if (!pidfd) return errno == ESRCH ? gone() : base::os_error("watch the monitor");
  // After the descriptor: were the number used anew before it, the time would differ; afterwards it cannot matter.
  if (start_time(record.pid) != record.start_time) return gone();
  pollfd ended{pidfd.get(), POLLIN, 0};
  if (::poll(&ended, 1, 0) != 0) return gone();
  base::UniqueFd folder(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return base::os_error("open sandbox directory " + directory.string());
  SANDFORGE_TRY(base::UniqueFd control, connect_in(folder.get(), kControlSocket, SOCK_SEQPACKET));
  ProcessWorker process(std::move(pidfd), std::move(folder), "guest");
  auto worker =
      std::make_unique<KvmWorker>(std::move(process), std::move(control), GuestCgroup::take_over(record.cgroup),
                                  GuestId(std::move(ids), record.user), record);
  if (auto answer = worker->status(); !answer) {
    worker->leave();
    return std::move(answer).error();
  }
  return worker;
}

}  // namespace sandforge::backend
