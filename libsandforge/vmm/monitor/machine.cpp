// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/machine.hpp"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <ctime>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "base/event_fd.hpp"
#include "base/limits.hpp"
#include "jail/enter.hpp"
#include "vmm/arch/x86_64/acpi.hpp"
#include "vmm/arch/x86_64/boot.hpp"
#include "vmm/arch/x86_64/cpuid.hpp"
#include "vmm/arch/x86_64/layout.hpp"
#include "vmm/devices/balloon.hpp"
#include "vmm/devices/block.hpp"
#include "vmm/devices/fs.hpp"
#include "vmm/devices/rng.hpp"
#include "vmm/devices/vsock.hpp"
#include "vmm/hypervisor/hypervisor.hpp"
#include "vmm/jail/seccomp.hpp"
#include "vmm/memory/guest_ram.hpp"
#include "vmm/monitor/control.hpp"
#include "vmm/monitor/device_slot.hpp"
#include "vmm/monitor/hand_over.hpp"
#include "vmm/monitor/log_sink.hpp"
#include "vmm/monitor/loop.hpp"
#include "vmm/monitor/standstill.hpp"
#include "vmm/monitor/vcpu_gate.hpp"
#include "vmm/monitor/vcpu_thread.hpp"
#include "vmm/platform/io_apic.hpp"
#include "vmm/platform/power.hpp"
#include "vmm/platform/serial.hpp"
#include "wire/file_server.hpp"

namespace sandforge::vmm {
namespace {

constexpr const char* kMakeAgain = "build the image and create the sandbox again";
constexpr int kDelayedBatch = 256;
constexpr std::uint32_t kMtrrDefaultType = 0x2ff;            // IA32_MTRR_DEF_TYPE
constexpr std::uint64_t kMtrrOnWriteBack = (1u << 11) | 6u;  // enabled, all memory write-back

// What waits, and what wakes it: made before the machine.
struct Events {
  std::unique_ptr<Loop> loop;   // of devices and control
  std::unique_ptr<Loop> quiet;  // of control alone, while the machine is paused
  std::unique_ptr<VcpuGate> gate;
  base::UniqueFd ended;
};

base::Result<Events> make_events() {
  Events events;
  SANDFORGE_TRY(events.loop, Loop::create());
  SANDFORGE_TRY(events.quiet, Loop::create());
  SANDFORGE_TRY(events.gate, VcpuGate::create());
  SANDFORGE_TRY(events.ended, base::make_event());
  return events;
}

class KvmMachine final : public Machine, private ControlActions {
 public:
  KvmMachine(MachineFiles files, GuestRam ram, std::unique_ptr<Vm> vm, Events events, HandOver hand_over)
      : files_(std::move(files)),
        ram_(std::move(ram)),
        vm_(std::move(vm)),
        loop_(std::move(events.loop)),
        quiet_loop_(std::move(events.quiet)),
        gate_(std::move(events.gate)),
        standstill_(*loop_, *quiet_loop_, *gate_),
        hand_over_(std::move(hand_over)),
        ended_(std::move(events.ended)),
        log_(files_.log, limits::kGuestLogBytesMax),
        control_(std::move(files_.control), std::move(files_.control_listener), *this) {}

  base::Status set_up(const Config& config, const BootEntry& entry);
  Finished run() override;

 private:
  base::Status add_platform(bool serial, std::uint32_t lines);
  base::Result<std::vector<std::unique_ptr<Device>>> make_devices();
  base::Status add_device(std::unique_ptr<Device> device, std::uint32_t line);
  base::Status describe(const MachineDescription& description);
  base::Status add_vcpus(std::uint32_t count, const BootEntry& entry);
  void end(Ending ending, std::string detail);
  void vcpu_thread(std::size_t index);
  void serve_delayed();
  void on_parked();
  bool has_ended();

  void describe(ControlAnswer& answer) override;
  bool pause() override { return standstill_.pause(); }
  void resume() override { standstill_.resume(); }
  bool set_balloon(std::uint64_t bytes) override;
  void stop() override {
    end(Ending::Stopped, {});
    standstill_.end();
  }

  // Members are destroyed from the last to the first: users before what they use.
  MachineFiles files_;
  GuestRam ram_;
  std::optional<GuestRam> windows_;  // a page a device: its registers, for the guest to read without an exit
  std::unique_ptr<Vm> vm_;
  std::unique_ptr<Loop> loop_, quiet_loop_;
  std::unique_ptr<VcpuGate> gate_;
  Standstill standstill_;
  HandOver hand_over_;
  base::UniqueFd ended_;
  LogSink log_;
  Control control_;
  std::uint64_t started_ns_ = 0;
  Bus memory_bus_, port_bus_;
  base::UniqueFd serial_interrupt_;
  std::optional<IoApic> io_apic_;
  std::optional<Power> power_;
  std::optional<Serial> serial_;
  std::vector<std::unique_ptr<DeviceSlot>> devices_;
  Balloon* balloon_ = nullptr;  // one of them
  VcpuSurroundings surroundings_;
  std::vector<std::unique_ptr<Vcpu>> vcpus_;
  std::vector<GuestRange> soon_written_;
  std::mutex finished_mutex_;
  std::optional<Finished> finished_;
};

base::Status KvmMachine::add_platform(bool serial, std::uint32_t lines) {
  io_apic_.emplace(lines, [this](std::span<const MessageRoute> routes) {
    if (const base::Status set = vm_->set_routes(routes); !set) end(Ending::Internal, set.error().message);
  });
  memory_bus_.add(kIoApic, kApicWindow, *io_apic_);
  // All interrupts that it routes are raised by the loop's thread, which looks at what waits before.
  SANDFORGE_TRY_STATUS(vm_->delay_writes(GuestAddress{kIoApic}, IoApic::kWriteBytes));
  power_.emplace([this](Ending ending) { end(ending, {}); });
  port_bus_.add(kPowerPort, kPowerPorts, *power_);
  if (!serial) return {};
  SANDFORGE_TRY(serial_interrupt_, base::make_event());
  SANDFORGE_TRY_STATUS(vm_->attach_interrupt(serial_interrupt_.get(), kSerialLine));
  serial_.emplace([this](char byte) { log_.put(byte); },
                  [this] {
                    serve_delayed();
                    (void)!::eventfd_write(serial_interrupt_.get(), 1);
                  });
  port_bus_.add(kSerialPort, kSerialPorts, *serial_);
  return {};
}

// Sizes are those of the files now. A root image is cut to whole sectors; a disk must have them.
base::Result<std::unique_ptr<Device>> make_disk(std::vector<DiskLayer> layers, bool read_only, const char* serial) {
  struct stat info {};
  if (::fstat(layers.front().file.get(), &info) != 0) {
    return base::os_error(std::string("look at the ") + serial + " disk");
  }
  const std::uint64_t bytes = static_cast<std::uint64_t>(info.st_size) / 512 * 512;
  if (!S_ISREG(info.st_mode) || bytes == 0) {
    return base::make_error(base::Code::InvalidArgument, "bad_disk",
                            std::string("the ") + serial + " disk is no regular file, or empty", kMakeAgain);
  }
  SANDFORGE_TRY(Disk disk, Disk::open(std::move(layers), bytes, read_only));
  return std::unique_ptr<Device>(std::make_unique<Block>(std::move(disk), serial));
}

// The private disk's own file on top of what lies below.
std::vector<DiskLayer> layers_of(base::UniqueFd top, std::vector<MachineFiles::LayerBelow> below) {
  std::vector<DiskLayer> layers;
  layers.push_back({std::move(top), {}});
  for (MachineFiles::LayerBelow& layer : below) {
    layers.back().map = std::move(layer.map_above);
    layers.push_back({std::move(layer.file), {}});
  }
  return layers;
}

base::Result<std::vector<std::unique_ptr<Device>>> KvmMachine::make_devices() {
  std::vector<std::unique_ptr<Device>> devices;
  SANDFORGE_TRY(auto root, make_disk(layers_of(std::move(files_.root), {}), true, "root"));
  devices.push_back(std::move(root));
  SANDFORGE_TRY(auto disk, make_disk(layers_of(std::move(files_.disk), std::move(files_.disk_layers)), false, "disk"));
  devices.push_back(std::move(disk));
  // One connection is taken at a time, and only when the guest has asked for one: never wait for the next.
  if (::fcntl(files_.agent.get(), F_SETFL, O_NONBLOCK) != 0) return base::os_error("set up the agent's socket");
  VsockOptions vsock;
  vsock.listener = std::move(files_.agent);
  vsock.host_port = kAgentPort;
  vsock.guest_ports = kAgentSourcePorts;
  devices.push_back(std::make_unique<Vsock>(std::move(vsock), *loop_));
  devices.push_back(std::make_unique<Rng>());
  auto balloon = std::make_unique<Balloon>();
  balloon_ = balloon.get();
  devices.push_back(std::move(balloon));
  if (files_.file_server) {
    devices.push_back(std::make_unique<Fs>(FsOptions{std::move(files_.file_server), wire::kFileServerTag}, *loop_));
  }
  return devices;
}

// The interrupt line of each device. Those that are rarely heard of share one, the last: an edge is a message here, so
// none is lost, and every line costs some eight exits of each boot.
std::vector<std::uint32_t> device_lines(const std::vector<std::unique_ptr<Device>>& devices) {
  const auto quiet = [](const auto& device) {
    return device->type() == DeviceType::Rng || device->type() == DeviceType::Balloon;
  };
  std::uint32_t next = kFirstDeviceLine;
  std::vector<std::uint32_t> lines;
  for (const auto& device : devices) lines.push_back(quiet(device) ? 0 : next++);
  std::replace(lines.begin(), lines.end(), std::uint32_t{0}, next);
  return lines;
}

base::Status KvmMachine::add_device(std::unique_ptr<Device> device, std::uint32_t line) {
  const auto index = static_cast<std::uint32_t>(devices_.size());
  const GuestAddress window{kDeviceWindows + index * kPage};
  SANDFORGE_TRY(auto slot, DeviceSlot::create(ram_.memory(), std::move(device), *loop_, [this] { serve_delayed(); }));
  std::byte* page = windows_->memory().regions().front().host + index * kPage;
  SANDFORGE_TRY_STATUS(slot->attach(*vm_, window, line, {page, kPage}));
  memory_bus_.add(window.value, kMmioWindow, *slot);
  devices_.push_back(std::move(slot));
  return {};
}

// What firmware would have left in memory: the tables, and an identity that no other guest has or had.
base::Status KvmMachine::describe(const MachineDescription& description) {
  std::array<std::byte, kGenerationIdBytes> generation{};
  if (::getrandom(generation.data(), generation.size(), 0) != static_cast<ssize_t>(generation.size())) {
    return base::os_error("make a generation id");
  }
  const std::string tables = acpi_tables(description);
  if (tables.size() > kAcpiEnd - kAcpiStart ||
      !ram_.memory().write(GuestAddress{kAcpiStart}, std::as_bytes(std::span(tables))) ||
      !ram_.memory().write(GuestAddress{kGenerationId}, generation)) {
    return base::make_error(base::Code::Internal, {}, "the ACPI tables do not fit");
  }
  return {};
}

base::Status KvmMachine::add_vcpus(std::uint32_t count, const BootEntry& entry) {
  SANDFORGE_TRY(const std::vector<CpuidEntry> supported, supported_cpuid(files_.kvm.get()));
  const Msr msrs[] = {{kMtrrDefaultType, kMtrrOnWriteBack}};
  for (std::uint32_t i = 0; i < count; ++i) {
    SANDFORGE_TRY(std::unique_ptr<Vcpu> vcpu, vm_->create_vcpu(i));
    const std::vector<CpuidEntry> cpuid = guest_cpuid(supported, i, count);
    SANDFORGE_TRY_STATUS(vcpu->set_cpuid(cpuid));
    // KVM tells the size of the state that is switched on. Where it does not see the guest switch it on (an emulated
    // host CPU), the guest's kernel would find sizes that do not fit; so all of it is on from the start.
    const std::uint64_t components = xsave_components(cpuid);
    if (components != 0) SANDFORGE_TRY_STATUS(vcpu->set_xcr0(components));
    SANDFORGE_TRY_STATUS(vcpu->set_msrs(msrs));
    // The others wait for the first one's start-up messages, in the kernel's local APICs.
    if (i == 0) SANDFORGE_TRY_STATUS(vcpu->enter_flat_protected_mode(entry.eip, entry.ebx));
    gate_->add(*vcpu);
    vcpus_.push_back(std::move(vcpu));
  }
  return {};
}

base::Status KvmMachine::set_up(const Config& config, const BootEntry& entry) {
  std::uint32_t memory_slot = 0;
  for (const MemoryRegion& region : ram_.memory().regions()) {
    SANDFORGE_TRY_STATUS(
        vm_->map_memory(memory_slot++, region.start, {region.host, region.size}, Vm::Access::ReadWrite));
  }
  SANDFORGE_TRY(auto devices, make_devices());
  SANDFORGE_TRY(GuestRam windows, GuestRam::create(devices.size() * kPage));
  windows_.emplace(std::move(windows));
  const MemoryRegion& shown = windows_->memory().regions().front();
  SANDFORGE_TRY_STATUS(
      vm_->map_memory(memory_slot, GuestAddress{kDeviceWindows}, {shown.host, shown.size}, Vm::Access::ReadOnly));
  const std::vector<std::uint32_t> lines = device_lines(devices);
  SANDFORGE_TRY_STATUS(add_platform(config.serial != 0, 1 + *std::max_element(lines.begin(), lines.end())));
  for (std::size_t i = 0; i < devices.size(); ++i) {
    SANDFORGE_TRY_STATUS(add_device(std::move(devices[i]), lines[i]));
  }

  SANDFORGE_TRY_STATUS(describe({config.cpus, lines, config.serial != 0}));
  SANDFORGE_TRY_STATUS(add_vcpus(config.cpus, entry));
  soon_written_ = entry.soon_written;
  surroundings_.memory_bus = &memory_bus_;
  surroundings_.port_bus = &port_bus_;
  surroundings_.hand_over = &hand_over_;
  surroundings_.gate = gate_.get();
  surroundings_.end = [this](Ending ending, std::string detail) { end(ending, std::move(detail)); };
  SANDFORGE_TRY_STATUS(loop_->add(hand_over_.wake_fd(), EPOLLIN,
                                  [this](std::uint32_t) { hand_over_.serve([this] { serve_delayed(); }); }));
  SANDFORGE_TRY_STATUS(loop_->add(gate_->parked_fd(), EPOLLIN, [this](std::uint32_t) { on_parked(); }));
  SANDFORGE_TRY_STATUS(control_.watch(loop_.get()));
  SANDFORGE_TRY_STATUS(loop_->add(ended_.get(), EPOLLIN, [this](std::uint32_t) { loop_->stop(); }));
  // Of no further use: what the guest cannot reach, a guest that has got into this process cannot either. The kernel's
  // and the initrd's pages stay mapped.
  for (base::UniqueFd* used : {&files_.kvm, &files_.kernel, &files_.initrd}) used->reset();
  return {};
}

// ---- what the owner may ask for -------------------------------------------------------------------------------------

void KvmMachine::describe(ControlAnswer& answer) {
  answer.state = standstill_.state();
  answer.exits = gate_->exits();
  answer.started_ns = started_ns_;
  answer.balloon_bytes = std::uint64_t{balloon_->actual()} * kPage;
  answer.released_bytes = balloon_->released_bytes();
}

void KvmMachine::on_parked() {
  if (const base::Status held = standstill_.on_parked(control_, has_ended()); !held) {
    end(Ending::Internal, held.error().message);
  }
}

bool KvmMachine::set_balloon(std::uint64_t bytes) {
  std::uint64_t total = 0;
  for (const MemoryRegion& region : ram_.memory().regions()) total += region.size;
  if (bytes > total || bytes / kPage > UINT32_MAX) return false;
  balloon_->set_target(static_cast<std::uint32_t>(bytes / kPage));
  return true;
}

bool KvmMachine::has_ended() {
  const std::lock_guard lock(finished_mutex_);
  return finished_.has_value();
}

// ---- life -----------------------------------------------------------------------------------------------------------

// Any thread.
void KvmMachine::end(Ending ending, std::string detail) {
  const std::lock_guard lock(finished_mutex_);
  if (finished_) return;
  finished_ = Finished{ending, std::move(detail)};
  (void)!::eventfd_write(ended_.get(), 1);
}

void KvmMachine::vcpu_thread(std::size_t index) {
  gate_->enter(index);
  if (const base::Status confined = confine_thread(ThreadRole::Vcpu); confined) {
    run_vcpu(*vcpus_[index], index, surroundings_);
  } else {
    end(Ending::Internal, confined.error().message);
  }
  // A thread's end takes more system calls than its life; the process ends soon.
  std::atomic<std::uint32_t> never{0};
  never.wait(0);
}

// Before anything that could show whether the writes were done: an access that came back, an interrupt. At most as many
// as can wait at a time; guests that write faster have only themselves to confuse.
void KvmMachine::serve_delayed() {
  for (int i = 0; i < kDelayedBatch; ++i) {
    std::optional<DelayedWrite> write = vm_->take_delayed();
    if (!write) return;
    const Bus::Target target = memory_bus_.find(write->address, write->width);
    if (target.registers != nullptr) {
      target.registers->write(target.offset, std::span(write->data).first(write->width));
    }
  }
}

// A system call on hosts with a slow clock, hence before the threads are confined.
std::uint64_t boot_time_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_BOOTTIME, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

Finished KvmMachine::run() {
  started_ns_ = boot_time_ns();
  for (std::size_t i = 0; i < vcpus_.size(); ++i) {
    // Detached: the process ends with the loop, and a vCPU thread cannot be waited for while it is in the guest.
    std::thread([i, this] { vcpu_thread(i); }).detach();
  }
  // While the guest starts: it comes to these pages some milliseconds later, and asks for no device before. The filter
  // of this thread, which has read nothing of the guest's yet, would not let it.
  for (const GuestRange& range : soon_written_) ram_.make_private(range.address, range.bytes);
  base::Status ran = jail::forbid_threads();
  if (ran) ran = confine_thread(ThreadRole::Loop);
  if (ran) control_.configured();
  if (ran) ran = loop_->run();
  if (!ran) end(Ending::Internal, ran.error().message);
  log_.flush();
  const std::lock_guard lock(finished_mutex_);
  control_.ended(finished_->ending);
  return *finished_;
}

}  // namespace

base::Result<std::unique_ptr<Machine>> Machine::create(const Config& config, MachineFiles files) {
  SANDFORGE_TRY(GuestRam ram, GuestRam::create(config.memory_mib * limits::kMiB));
  const BootFiles boot_files{files.kernel.get(), files.initrd.get()};
  SANDFORGE_TRY(const BootEntry entry, load_guest(ram, boot_files, config.command_line));
  SANDFORGE_TRY(const KvmFacts facts, check_kvm(files.kvm.get()));
  if (config.cpus > facts.vcpus_max) {
    return base::make_error(base::Code::InvalidArgument, "too_many_cpus",
                            "this host's KVM allows " + std::to_string(facts.vcpus_max) + " vCPUs", "ask for fewer");
  }
  SANDFORGE_TRY(auto vm, create_kvm_vm(files.kvm.get(), kFirstDeviceLine + kDevicesMax));
  SANDFORGE_TRY(Events events, make_events());
  SANDFORGE_TRY(HandOver hand_over, HandOver::create());
  auto machine = std::make_unique<KvmMachine>(std::move(files), std::move(ram), std::move(vm), std::move(events),
                                              std::move(hand_over));
  SANDFORGE_TRY_STATUS(machine->set_up(config, entry));
  return std::unique_ptr<Machine>(std::move(machine));
}

}  // namespace sandforge::vmm
