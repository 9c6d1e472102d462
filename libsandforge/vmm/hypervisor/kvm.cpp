// SPDX-License-Identifier: Apache-2.0
// The hypervisor interface over Linux KVM. The only file of the project that includes linux/kvm.h.
// SPEC: Linux Documentation/virt/kvm/api.rst; section numbers below are of that file.
#include <linux/kvm.h>

#include <sys/ioctl.h>
#include <sys/mman.h>

#include <algorithm>
#include <cstddef>

#include "base/unique_fd.hpp"
#include "vmm/hypervisor/hypervisor.hpp"

namespace sandforge::vmm {
namespace {

constexpr const char* kNewerHost = "use a host with Linux 5.10 or newer";
constexpr int kCreateRetries = 8;
constexpr std::size_t kCpuidMax = 256, kMsrsMax = 16, kRoutesMax = 64;
// Below the BIOS hole that no device of ours uses. Intel CPUs without "unrestricted guest" keep a page table and a task
// segment there (4.4, 4.41).
constexpr std::uint64_t kIdentityMapAddress = 0xfffbc000, kTssAddress = 0xfffbd000;

struct Needed {
  int capability;
  const char* name;
};
constexpr Needed kNeeded[] = {
    {KVM_CAP_USER_MEMORY, "KVM_CAP_USER_MEMORY"},
    {KVM_CAP_READONLY_MEM, "KVM_CAP_READONLY_MEM"},
    {KVM_CAP_COALESCED_MMIO, "KVM_CAP_COALESCED_MMIO"},
    {KVM_CAP_SPLIT_IRQCHIP, "KVM_CAP_SPLIT_IRQCHIP"},
    {KVM_CAP_IRQFD, "KVM_CAP_IRQFD"},
    {KVM_CAP_IOEVENTFD, "KVM_CAP_IOEVENTFD"},
    {KVM_CAP_IMMEDIATE_EXIT, "KVM_CAP_IMMEDIATE_EXIT"},
    {KVM_CAP_IRQ_ROUTING, "KVM_CAP_IRQ_ROUTING"},
    {KVM_CAP_EXT_CPUID, "KVM_CAP_EXT_CPUID"},
    {KVM_CAP_XCRS, "KVM_CAP_XCRS"},
    {KVM_CAP_ADJUST_CLOCK, "KVM_CAP_ADJUST_CLOCK"},
};

int check_extension(int fd, int capability) {
  return ::ioctl(fd, KVM_CHECK_EXTENSION, static_cast<unsigned long>(capability));
}

// Interrupted calls are repeated; all others are the kernel's last word.
template <typename Argument>
int call(int fd, unsigned long request, Argument argument) {
  int result = 0;
  do {
    result = ::ioctl(fd, request, argument);
  } while (result < 0 && errno == EINTR);
  return result;
}

// kvm_cpuid2, kvm_msrs and kvm_irq_routing: a count, 32 bits of padding or flags, and an array. Not the header's own
// structures: their flexible arrays are declared in a way that moves them, and makes the structure larger, in C++; the
// request numbers, which hold its size, go wrong with them.
template <typename Entry, std::size_t kMax>
struct CountedTable {
  std::uint32_t count = 0;
  std::uint32_t padding = 0;
  Entry entries[kMax]{};
};
using CpuidTable = CountedTable<kvm_cpuid_entry2, kCpuidMax>;
using MsrTable = CountedTable<kvm_msr_entry, kMsrsMax>;
using RouteTable = CountedTable<kvm_irq_routing_entry, kRoutesMax>;
static_assert(offsetof(CpuidTable, entries) == 8 && offsetof(MsrTable, entries) == 8 &&
              offsetof(RouteTable, entries) == 8);
// kvm_coalesced_mmio_ring, for the same reason. As many entries as a page has room for: KVM_COALESCED_MMIO_MAX, which
// is written in terms of a constant that only the kernel has.
struct DelayedRing {
  static constexpr std::uint32_t kMax = (4096 - 8) / sizeof(kvm_coalesced_mmio);
  std::uint32_t first, last;
  kvm_coalesced_mmio entries[kMax];
};
static_assert(offsetof(DelayedRing, entries) == 8 && sizeof(DelayedRing) <= 4096);
constexpr unsigned long kGetSupportedCpuid = _IOC(_IOC_READ | _IOC_WRITE, KVMIO, 0x05, 8);
constexpr unsigned long kSetGsiRouting = _IOC(_IOC_WRITE, KVMIO, 0x6a, 8);
constexpr unsigned long kSetMsrs = _IOC(_IOC_WRITE, KVMIO, 0x89, 8);
constexpr unsigned long kSetCpuid = _IOC(_IOC_WRITE, KVMIO, 0x90, 8);

class KvmVcpu final : public Vcpu {
 public:
  KvmVcpu(base::UniqueFd fd, kvm_run* run, std::size_t run_bytes)
      : fd_(std::move(fd)), run_(run), run_bytes_(run_bytes) {}
  ~KvmVcpu() override { ::munmap(run_, run_bytes_); }

  base::Status set_cpuid(std::span<const CpuidEntry> entries) override;
  base::Status set_xcr0(std::uint64_t components) override;
  base::Status set_msrs(std::span<const Msr> msrs) override;
  base::Status enter_flat_protected_mode(std::uint32_t eip, std::uint32_t ebx) override;
  base::Result<Exit> run() override;
  void request_exit() noexcept override { __atomic_store_n(&run_->immediate_exit, 1, __ATOMIC_RELEASE); }

 private:
  Exit port_exit();
  Exit mmio_exit();

  base::UniqueFd fd_;
  // SAFETY: mapped by create_vcpu for as long as this object lives; shared with the host's kernel, not with the guest.
  kvm_run* run_;
  std::size_t run_bytes_;
};

base::Status KvmVcpu::set_cpuid(std::span<const CpuidEntry> entries) {
  if (entries.size() > kCpuidMax) return base::make_error(base::Code::Internal, {}, "too many CPUID entries");
  CpuidTable table;
  table.count = static_cast<std::uint32_t>(entries.size());
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const CpuidEntry& from = entries[i];
    kvm_cpuid_entry2& to = table.entries[i];
    to.function = from.leaf;
    to.index = from.subleaf;
    to.flags = from.indexed ? KVM_CPUID_FLAG_SIGNIFCANT_INDEX : 0;
    to.eax = from.eax;
    to.ebx = from.ebx;
    to.ecx = from.ecx;
    to.edx = from.edx;
  }
  if (call(fd_.get(), kSetCpuid, &table) < 0) return base::os_error("KVM_SET_CPUID2");
  return {};
}

base::Status KvmVcpu::set_xcr0(std::uint64_t components) {
  kvm_xcrs registers{};
  registers.nr_xcrs = 1;
  registers.xcrs[0].value = components;
  if (call(fd_.get(), KVM_SET_XCRS, &registers) < 0) return base::os_error("KVM_SET_XCRS");
  return {};
}

base::Status KvmVcpu::set_msrs(std::span<const Msr> msrs) {
  if (msrs.size() > kMsrsMax) return base::make_error(base::Code::Internal, {}, "too many MSRs");
  MsrTable table;
  table.count = static_cast<std::uint32_t>(msrs.size());
  for (std::size_t i = 0; i < msrs.size(); ++i) {
    table.entries[i].index = msrs[i].index;
    table.entries[i].data = msrs[i].value;
  }
  const int set = call(fd_.get(), kSetMsrs, &table);
  if (set < 0) return base::os_error("KVM_SET_MSRS");
  if (static_cast<std::size_t>(set) != msrs.size()) {
    const std::uint32_t refused = table.entries[set].index;
    return base::make_error(base::Code::Unsupported, "msr", "the host's KVM refuses MSR " + std::to_string(refused),
                            kNewerHost);
  }
  return {};
}

kvm_segment flat_segment(std::uint16_t selector, std::uint8_t type, bool code_or_data) {
  kvm_segment segment{};
  segment.limit = code_or_data ? 0xffffffff : 0x67;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = code_or_data ? 1 : 0;
  segment.db = code_or_data ? 1 : 0;
  segment.g = code_or_data ? 1 : 0;
  return segment;
}

base::Status KvmVcpu::enter_flat_protected_mode(std::uint32_t eip, std::uint32_t ebx) {
  constexpr std::uint8_t kCodeReadExecute = 0xb, kDataReadWrite = 0x3, kBusyTss = 0xb;
  kvm_sregs special{};
  if (call(fd_.get(), KVM_GET_SREGS, &special) < 0) return base::os_error("KVM_GET_SREGS");
  special.cs = flat_segment(0x08, kCodeReadExecute, true);
  special.ds = special.es = special.fs = special.gs = special.ss = flat_segment(0x10, kDataReadWrite, true);
  special.tr = flat_segment(0x18, kBusyTss, false);
  special.cr0 = 0x11;  // PE, and ET as on every CPU since the 486
  special.cr3 = special.cr4 = special.efer = 0;
  if (call(fd_.get(), KVM_SET_SREGS, &special) < 0) return base::os_error("KVM_SET_SREGS");
  kvm_regs general{};
  general.rip = eip;
  general.rbx = ebx;
  general.rflags = 2;  // the bit that is always set
  if (call(fd_.get(), KVM_SET_REGS, &general) < 0) return base::os_error("KVM_SET_REGS");
  return {};
}

// 5, "kvm_run": the exits. Lengths come from KVM, not from the guest, and are cut to what the structure holds.
Exit KvmVcpu::mmio_exit() {
  Exit exit;
  exit.kind = Exit::Kind::Mmio;
  exit.write = run_->mmio.is_write != 0;
  exit.address = run_->mmio.phys_addr;
  exit.width = static_cast<std::uint8_t>(std::min<std::size_t>(run_->mmio.len, sizeof run_->mmio.data));
  exit.data = std::as_writable_bytes(std::span(run_->mmio.data)).first(exit.width);
  return exit;
}

Exit KvmVcpu::port_exit() {
  Exit exit;
  const std::uint64_t offset = run_->io.data_offset;
  const std::uint64_t bytes = std::uint64_t{run_->io.size} * run_->io.count;
  exit.write = run_->io.direction == KVM_EXIT_IO_OUT;
  exit.address = run_->io.port;
  exit.width = run_->io.size;
  if (offset > run_bytes_ || bytes > run_bytes_ - offset) {
    exit.kind = Exit::Kind::Failed;
    exit.detail = "a port access that does not fit its page";
    return exit;
  }
  exit.kind = Exit::Kind::Port;
  // SAFETY: the range was checked against the mapping.
  exit.data = {reinterpret_cast<std::byte*>(run_) + offset, bytes};
  return exit;
}

base::Result<Exit> KvmVcpu::run() {
  Exit exit;
  if (::ioctl(fd_.get(), KVM_RUN, 0) < 0) {
    if (errno != EINTR && errno != EAGAIN) return base::os_error("KVM_RUN");
    __atomic_store_n(&run_->immediate_exit, 0, __ATOMIC_RELEASE);
    return exit;
  }
  switch (run_->exit_reason) {
    case KVM_EXIT_MMIO: return mmio_exit();
    case KVM_EXIT_IO: return port_exit();
    // No interrupt of ours is level-triggered, so its end tells nothing.
    case KVM_EXIT_IOAPIC_EOI:
    case KVM_EXIT_INTR:
    case KVM_EXIT_IRQ_WINDOW_OPEN: return exit;
    case KVM_EXIT_SHUTDOWN: exit.kind = Exit::Kind::Shutdown; return exit;
    case KVM_EXIT_HLT: exit.kind = Exit::Kind::Halted; return exit;
    case KVM_EXIT_FAIL_ENTRY:
      exit.kind = Exit::Kind::Failed;
      exit.detail = "entry failed, hardware reason " + std::to_string(run_->fail_entry.hardware_entry_failure_reason);
      return exit;
    case KVM_EXIT_INTERNAL_ERROR:
      exit.kind = Exit::Kind::Failed;
      exit.detail = "internal error of KVM, suberror " + std::to_string(run_->internal.suberror);
      return exit;
    default:
      exit.kind = Exit::Kind::Failed;
      exit.detail = "unknown exit reason " + std::to_string(run_->exit_reason);
      return exit;
  }
}

class KvmVm final : public Vm {
 public:
  KvmVm(base::UniqueFd fd, std::size_t run_bytes, bool enforces)
      : fd_(std::move(fd)), run_bytes_(run_bytes), enforces_(enforces) {}

  base::Status map_memory(std::uint32_t slot, GuestAddress start, std::span<std::byte> host, Access access) override;
  base::Status set_routes(std::span<const MessageRoute> routes) override;
  base::Status attach_interrupt(int eventfd, std::uint32_t gsi) override;
  base::Status attach_kick(int eventfd, GuestAddress address, std::uint32_t value) override;
  base::Status delay_writes(GuestAddress start, std::uint32_t size) override;
  std::optional<DelayedWrite> take_delayed() override;
  base::Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) override;

 private:
  base::UniqueFd fd_;
  std::size_t run_bytes_;
  bool enforces_;  // KVM_CAP_ENFORCE_PV_FEATURE_CPUID is there
  // SAFETY: in the mapping of the first vCPU, which whoever calls take_delayed() keeps; shared with the host's kernel,
  // not with the guest.
  DelayedRing* delayed_ = nullptr;
};

base::Status KvmVm::map_memory(std::uint32_t slot, GuestAddress start, std::span<std::byte> host, Access access) {
  kvm_userspace_memory_region region{};
  region.slot = slot;
  region.flags = access == Access::ReadOnly ? KVM_MEM_READONLY : 0;
  region.guest_phys_addr = start.value;
  region.memory_size = host.size();
  // SAFETY: the caller keeps `host` mapped for the life of the VM.
  region.userspace_addr = reinterpret_cast<std::uint64_t>(host.data());
  if (call(fd_.get(), KVM_SET_USER_MEMORY_REGION, &region) < 0) return base::os_error("KVM_SET_USER_MEMORY_REGION");
  return {};
}

base::Status KvmVm::set_routes(std::span<const MessageRoute> routes) {
  if (routes.size() > kRoutesMax) return base::make_error(base::Code::Internal, {}, "too many interrupt routes");
  RouteTable table;
  table.count = static_cast<std::uint32_t>(routes.size());
  for (std::size_t i = 0; i < routes.size(); ++i) {
    kvm_irq_routing_entry& entry = table.entries[i];
    entry.gsi = routes[i].gsi;
    entry.type = KVM_IRQ_ROUTING_MSI;
    entry.u.msi.address_lo = routes[i].address;
    entry.u.msi.data = routes[i].data;
  }
  if (call(fd_.get(), kSetGsiRouting, &table) < 0) return base::os_error("KVM_SET_GSI_ROUTING");
  return {};
}

base::Status KvmVm::attach_interrupt(int eventfd, std::uint32_t gsi) {
  kvm_irqfd irqfd{};
  irqfd.fd = static_cast<std::uint32_t>(eventfd);
  irqfd.gsi = gsi;
  if (call(fd_.get(), KVM_IRQFD, &irqfd) < 0) return base::os_error("KVM_IRQFD");
  return {};
}

base::Status KvmVm::attach_kick(int eventfd, GuestAddress address, std::uint32_t value) {
  kvm_ioeventfd kick{};
  kick.datamatch = value;
  kick.addr = address.value;
  kick.len = sizeof value;
  kick.fd = eventfd;
  kick.flags = KVM_IOEVENTFD_FLAG_DATAMATCH;
  if (call(fd_.get(), KVM_IOEVENTFD, &kick) < 0) return base::os_error("KVM_IOEVENTFD");
  return {};
}

base::Status KvmVm::delay_writes(GuestAddress start, std::uint32_t size) {
  kvm_coalesced_mmio_zone zone{};
  zone.addr = start.value;
  zone.size = size;
  if (call(fd_.get(), KVM_REGISTER_COALESCED_MMIO, &zone) < 0) return base::os_error("KVM_REGISTER_COALESCED_MMIO");
  return {};
}

std::optional<DelayedWrite> KvmVm::take_delayed() {
  if (delayed_ == nullptr) return {};
  const std::uint32_t first = delayed_->first, last = __atomic_load_n(&delayed_->last, __ATOMIC_ACQUIRE);
  if (first == last || first >= DelayedRing::kMax) return {};
  const kvm_coalesced_mmio& entry = delayed_->entries[first];
  DelayedWrite write;
  write.address = entry.phys_addr;
  write.width = static_cast<std::uint8_t>(std::min<std::size_t>(entry.len, write.data.size()));
  std::copy_n(reinterpret_cast<const std::byte*>(entry.data), write.width, write.data.begin());
  __atomic_store_n(&delayed_->first, (first + 1) % DelayedRing::kMax, __ATOMIC_RELEASE);
  return write;
}

base::Result<std::unique_ptr<Vcpu>> KvmVm::create_vcpu(std::uint32_t index) {
  base::UniqueFd fd(call(fd_.get(), KVM_CREATE_VCPU, static_cast<unsigned long>(index)));
  if (!fd) return base::os_error("KVM_CREATE_VCPU");
  if (enforces_) {
    // What the CPUID table does not offer of KVM's own MSRs and calls is not there either (7.25).
    kvm_enable_cap enforce{};
    enforce.cap = KVM_CAP_ENFORCE_PV_FEATURE_CPUID;
    enforce.args[0] = 1;
    if (call(fd.get(), KVM_ENABLE_CAP, &enforce) < 0) return base::os_error("KVM_CAP_ENFORCE_PV_FEATURE_CPUID");
  }
  void* run = ::mmap(nullptr, run_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (run == MAP_FAILED) return base::os_error("map a vCPU");
  constexpr std::size_t kRing = std::size_t{KVM_COALESCED_MMIO_PAGE_OFFSET} * 4096;
  if (index == 0 && run_bytes_ >= kRing + 4096) {
    delayed_ = reinterpret_cast<DelayedRing*>(static_cast<std::byte*>(run) + kRing);
  }
  return std::unique_ptr<Vcpu>(std::make_unique<KvmVcpu>(std::move(fd), static_cast<kvm_run*>(run), run_bytes_));
}

}  // namespace

std::span<const unsigned long> vcpu_thread_requests() {
  static constexpr unsigned long kRequests[] = {KVM_RUN};
  return kRequests;
}

std::span<const unsigned long> loop_thread_requests() {
  static constexpr unsigned long kRequests[] = {kSetGsiRouting};
  return kRequests;
}

base::Result<KvmFacts> check_kvm(int fd) {
  const int version = ::ioctl(fd, KVM_GET_API_VERSION, 0);
  if (version != KVM_API_VERSION) {
    return base::make_error(base::Code::Unsupported, "kvm_version", "/dev/kvm does not answer as KVM does", kNewerHost);
  }
  for (const Needed& needed : kNeeded) {
    if (check_extension(fd, needed.capability) > 0) continue;
    return base::make_error(base::Code::Unsupported, "kvm_capability",
                            std::string("this host's KVM lacks ") + needed.name, kNewerHost);
  }
  KvmFacts facts;
  facts.vcpus_max = static_cast<std::uint32_t>(std::max(check_extension(fd, KVM_CAP_MAX_VCPUS), 1));
  return facts;
}

base::Result<std::vector<CpuidEntry>> supported_cpuid(int fd) {
  CpuidTable table;
  table.count = kCpuidMax;
  if (call(fd, kGetSupportedCpuid, &table) < 0) return base::os_error("KVM_GET_SUPPORTED_CPUID");
  std::vector<CpuidEntry> entries;
  const std::size_t count = std::min<std::size_t>(table.count, kCpuidMax);
  entries.reserve(count);
  for (std::size_t i = 0; i < count; ++i) {
    const kvm_cpuid_entry2& from = table.entries[i];
    entries.push_back({from.function, from.index, (from.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX) != 0, from.eax,
                       from.ebx, from.ecx, from.edx});
  }
  return entries;
}

base::Result<std::unique_ptr<Vm>> create_kvm_vm(int fd, std::uint32_t pins) {
  const int run_bytes = ::ioctl(fd, KVM_GET_VCPU_MMAP_SIZE, 0);
  if (run_bytes < 0) return base::os_error("KVM_GET_VCPU_MMAP_SIZE");
  if (run_bytes < static_cast<int>(sizeof(kvm_run))) {
    return base::make_error(base::Code::Unsupported, "kvm_version",
                            "this host's KVM has a shorter vCPU page than this monitor was built for", kNewerHost);
  }
  base::UniqueFd vm;
  // A host under load answers EINTR although no signal came.
  for (int i = 0; i < kCreateRetries && !vm; ++i) {
    vm.reset(::ioctl(fd, KVM_CREATE_VM, 0));
    if (!vm && errno != EINTR) break;
  }
  if (!vm) return base::os_error("KVM_CREATE_VM");

  std::uint64_t identity = kIdentityMapAddress;
  if (call(vm.get(), KVM_SET_IDENTITY_MAP_ADDR, &identity) < 0) return base::os_error("KVM_SET_IDENTITY_MAP_ADDR");
  if (call(vm.get(), KVM_SET_TSS_ADDR, kTssAddress) < 0) return base::os_error("KVM_SET_TSS_ADDR");
  // Local APICs in the kernel, no PIC, no PIT, no I/O APIC there: less of the kernel within the guest's reach (7.5).
  kvm_enable_cap split{};
  split.cap = KVM_CAP_SPLIT_IRQCHIP;
  split.args[0] = pins;
  if (call(vm.get(), KVM_ENABLE_CAP, &split) < 0) return base::os_error("KVM_CAP_SPLIT_IRQCHIP");
  // No performance counters for the guest: a side channel and a large piece of the kernel. Older hosts cannot say no;
  // the CPUID table hides them there too.
  kvm_enable_cap pmu{};
  pmu.cap = KVM_CAP_PMU_CAPABILITY;
  pmu.args[0] = KVM_PMU_CAP_DISABLE;
  (void)call(vm.get(), KVM_ENABLE_CAP, &pmu);
  const bool enforces = check_extension(fd, KVM_CAP_ENFORCE_PV_FEATURE_CPUID) > 0;
  return std::unique_ptr<Vm>(std::make_unique<KvmVm>(std::move(vm), static_cast<std::size_t>(run_bytes), enforces));
}

}  // namespace sandforge::vmm
