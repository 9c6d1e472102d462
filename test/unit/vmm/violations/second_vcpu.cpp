// SPDX-License-Identifier: Apache-2.0
#include "vmm/violations/second_vcpu.hpp"

#include <sys/mman.h>
#include <sys/ucontext.h>

#include <cstdlib>
#include <utility>

namespace sandforge::vmm::test {
namespace {

// A signal handler has no other way to its object.
SecondVcpu* g_current = nullptr;

constexpr greg_t kTrapFlag = 0x100;

greg_t& flags_of(void* context) { return static_cast<ucontext_t*>(context)->uc_mcontext.gregs[REG_EFL]; }

}  // namespace

SecondVcpu::SecondVcpu(const GuestMemory& memory, GuestAddress address, std::size_t bytes,
                       std::function<void()> rewrite)
    : start_(nullptr), bytes_(bytes), rewrite_(std::move(rewrite)) {
  iovec range{};
  if (g_current != nullptr || !memory.io_range(address, bytes, range)) std::abort();
  start_ = static_cast<std::byte*>(range.iov_base);
  g_current = this;
  struct sigaction action {};
  action.sa_flags = SA_SIGINFO | SA_NODEFER;
  action.sa_sigaction = on_fault;
  ::sigaction(SIGSEGV, &action, &fault_before_);
  action.sa_sigaction = on_step;
  ::sigaction(SIGTRAP, &action, &step_before_);
  if (::mprotect(start_, bytes_, PROT_NONE) != 0) std::abort();
}

SecondVcpu::~SecondVcpu() {
  if (::mprotect(start_, bytes_, PROT_READ | PROT_WRITE) != 0) std::abort();
  ::sigaction(SIGSEGV, &fault_before_, nullptr);
  ::sigaction(SIGTRAP, &step_before_, nullptr);
  g_current = nullptr;
}

void SecondVcpu::on_fault(int signal, siginfo_t* info, void* context) {
  SecondVcpu& self = *g_current;
  const auto* at = static_cast<const std::byte*>(info->si_addr);
  if (at < self.start_ || at >= self.start_ + self.bytes_) {
    // Not ours: the fault comes again, to whom it belongs.
    ::sigaction(signal, &self.fault_before_, nullptr);
    return;
  }
  ++self.touches_;
  (void)::mprotect(self.start_, self.bytes_, PROT_READ | PROT_WRITE);
  flags_of(context) |= kTrapFlag;
}

void SecondVcpu::on_step(int, siginfo_t*, void* context) {
  SecondVcpu& self = *g_current;
  flags_of(context) &= ~kTrapFlag;
  self.rewrite_();
  (void)::mprotect(self.start_, self.bytes_, PROT_NONE);
}

}  // namespace sandforge::vmm::test
