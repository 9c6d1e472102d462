// SPDX-License-Identifier: Apache-2.0
// What the monitor needs of a hypervisor: one virtual machine with local APICs in the kernel, memory, message-signalled
// interrupts, event descriptors, and vCPUs. Implemented by kvm.cpp and by nothing else in the product.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/result.hpp"
#include "vmm/memory/guest_memory.hpp"

namespace sandforge::vmm {

// One row of the CPUID table. `indexed` when the answer depends on the subleaf (ECX).
struct CpuidEntry {
  std::uint32_t leaf = 0, subleaf = 0;
  bool indexed = false;
  std::uint32_t eax = 0, ebx = 0, ecx = 0, edx = 0;
};

// What a write to the local APICs' address range with this address and data would do, under a number of ours.
struct MessageRoute {
  std::uint32_t gsi = 0;
  std::uint32_t address = 0;
  std::uint32_t data = 0;
};

struct Msr {
  std::uint32_t index = 0;
  std::uint64_t value = 0;
};

// Why a vCPU came back. `data` is what the guest wrote, or what it shall read: fill it before the next run(). It points
// into memory that only this vCPU's thread touches and is valid until the next run().
struct Exit {
  enum class Kind : std::uint8_t {
    Mmio,         // `address`, `write`, `data` of 1 to 8 bytes
    Port,         // `address` is the port; `data` holds `width`-byte accesses to it, one after the other
    Interrupted,  // request_exit() or a signal; nothing happened
    Shutdown,     // triple fault
    Halted,       // HLT that nothing can end; does not occur with local APICs in the kernel
    Failed,       // the hypervisor cannot go on with this vCPU; `detail` has numbers for a bug report
  };
  Kind kind = Kind::Interrupted;
  bool write = false;
  std::uint8_t width = 0;
  std::uint64_t address = 0;
  std::span<std::byte> data;
  std::string detail;
};

// One vCPU. All of it on the thread that runs it, but for request_exit.
class Vcpu {
 public:
  virtual ~Vcpu() = default;

  virtual base::Status set_cpuid(std::span<const CpuidEntry> entries) = 0;
  // Which extended state components are on, of those that the CPUID table names.
  virtual base::Status set_xcr0(std::uint64_t components) = 0;
  virtual base::Status set_msrs(std::span<const Msr> msrs) = 0;
  // 32-bit protected mode, flat segments, paging off, interrupts off: EIP and EBX as given, the rest zero.
  virtual base::Status enter_flat_protected_mode(std::uint32_t eip, std::uint32_t ebx) = 0;
  // BLOCKS while the guest runs.
  virtual base::Result<Exit> run() = 0;
  // Any thread: the next (or, with a signal to its thread, the current) run() comes back at once, once.
  virtual void request_exit() noexcept = 0;
};

// A guest's write that did not come back from run() but waited for take_delayed().
struct DelayedWrite {
  std::uint64_t address = 0;
  std::uint8_t width = 0;
  std::array<std::byte, 8> data{};
};

// Any thread. What a Vm was given stays in use until it is destroyed.
class Vm {
 public:
  virtual ~Vm() = default;

  // `host` is page-aligned and stays mapped for the life of the Vm. The guest reads what is `ReadOnly` without an exit;
  // what it writes there comes back from run(), or counts as a kick, as where there is no memory.
  enum class Access : std::uint8_t { ReadWrite, ReadOnly };
  virtual base::Status map_memory(std::uint32_t slot, GuestAddress start, std::span<std::byte> host, Access access) = 0;
  // Replaces the whole table. A number without a route is a line that goes nowhere.
  virtual base::Status set_routes(std::span<const MessageRoute> routes) = 0;
  // A count in `eventfd` raises the interrupt `gsi`; the descriptor may be closed afterwards.
  virtual base::Status attach_interrupt(int eventfd, std::uint32_t gsi) = 0;
  // A guest's 4-byte write of `value` at `address` counts in `eventfd` and does not come back from run().
  virtual base::Status attach_kick(int eventfd, GuestAddress address, std::uint32_t value) = 0;
  // Writes to these addresses wait, in their order, until somebody takes them: for registers whose value shows in
  // nothing but another access, which comes back from run(), or an interrupt. Take all that wait before serving or
  // raising it.
  virtual base::Status delay_writes(GuestAddress start, std::uint32_t size) = 0;
  // The oldest one. One thread at a time; after the first vCPU was created.
  virtual std::optional<DelayedWrite> take_delayed() = 0;
  virtual base::Result<std::unique_ptr<Vcpu>> create_vcpu(std::uint32_t index) = 0;
};

// Whether the KVM behind `fd` (an open /dev/kvm, borrowed) has what the monitor needs, and for how many vCPUs.
// Errors: unsupported, with the missing capability's name.
struct KvmFacts {
  std::uint32_t vcpus_max = 0;
};
base::Result<KvmFacts> check_kvm(int fd);

// What its guests may be told of the CPU at most.
base::Result<std::vector<CpuidEntry>> supported_cpuid(int fd);

// The ioctl requests that vCPU threads and the device loop make once the guest runs, for their system call filters.
std::span<const unsigned long> vcpu_thread_requests();
std::span<const unsigned long> loop_thread_requests();

// `pins` is how many interrupt lines the user-space I/O APIC has. Borrows `fd` for the call.
base::Result<std::unique_ptr<Vm>> create_kvm_vm(int fd, std::uint32_t pins);

}  // namespace sandforge::vmm
