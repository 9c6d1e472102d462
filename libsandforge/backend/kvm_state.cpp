// SPDX-License-Identifier: Apache-2.0
#include "backend/kvm_state.hpp"

#include <fcntl.h>
#include <sys/ioctl.h>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include <cerrno>

#include "base/unique_fd.hpp"

namespace sandforge::backend {
namespace {

// KVM_GET_API_VERSION and its only answer, stable since 2007. The header of all of KVM belongs to our own monitor.
constexpr unsigned long kGetApiVersion = _IO(0xAE, 0x00);
constexpr int kApiVersion = 12;

bool cpu_virtualizes() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  constexpr unsigned kVmx = 1u << 5, kSvm = 1u << 2;
  if (__get_cpuid(1, &a, &b, &c, &d) != 0 && (c & kVmx) != 0) return true;
  return __get_cpuid(0x80000001, &a, &b, &c, &d) != 0 && (c & kSvm) != 0;
#else
  return false;
#endif
}

}  // namespace

KvmState kvm_state(const char* device) {
  const base::UniqueFd fd(::open(device, O_RDWR | O_CLOEXEC));
  if (!fd) return errno == EACCES || errno == EPERM ? KvmState::Denied : KvmState::Missing;
  if (::ioctl(fd.get(), kGetApiVersion, 0) != kApiVersion) return KvmState::Broken;
  // A software hypervisor behind the KVM interface must not be called hardware isolation.
  return cpu_virtualizes() ? KvmState::Usable : KvmState::NotHardware;
}

KvmAdvice explain(KvmState state) noexcept {
  switch (state) {
    case KvmState::Usable: break;
    case KvmState::Missing:
      return {"this host has no /dev/kvm",
              "turn on virtualisation in the firmware (in a virtual machine: nested virtualisation), then modprobe "
              "kvm_intel or kvm_amd"};
    case KvmState::Denied:
      return {"/dev/kvm is there, but this user may not open it", "usermod -aG kvm USER, then log in again"};
    case KvmState::NotHardware:
      return {"/dev/kvm is there, but the CPU offers neither VMX nor SVM behind it",
              "use a host, or a virtual machine with nested virtualisation, whose /proc/cpuinfo has vmx or svm"};
    case KvmState::Broken: return {"/dev/kvm does not answer as KVM does", "look into the kernel's log for kvm"};
  }
  return {"", ""};
}

KvmAdvice slow_settings(std::string_view nx_huge_pages, std::string_view itlb_multihit,
                        std::string_view mounts) noexcept {
  // Without the parameter there is no worker thread; without cgroups nothing to move it between.
  if (nx_huge_pages.empty() || nx_huge_pages.starts_with("never")) return {"", ""};
  if (mounts.find("cgroup") == std::string_view::npos || mounts.find("favordynmods") != std::string_view::npos) {
    return {"", ""};
  }
  constexpr const char* kFinding = "each new virtual machine may wait 20 to 70 ms for the kernel (kvm.nx_huge_pages)";
  if (itlb_multihit.starts_with("Not affected")) {
    return {kFinding,
            "this CPU needs no iTLB mitigation: put \"options kvm nx_huge_pages=never\" into "
            "/etc/modprobe.d/kvm.conf and load the module kvm anew"};
  }
  return {kFinding, "mount -o remount,favordynmods /sys/fs/cgroup"};
}

}  // namespace sandforge::backend
