// SPDX-License-Identifier: Apache-2.0
#include "agent/seccomp_filter.hpp"

#include <linux/audit.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstddef>

namespace sandforge::agent {

namespace {
#if defined(__x86_64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_X86_64;
#elif defined(__aarch64__)
constexpr std::uint32_t kArchitecture = AUDIT_ARCH_AARCH64;
#else
#error "the filter knows x86_64 and aarch64"
#endif

#define CALL(name) SYS_##name, EPERM, #name
constexpr DeniedCall kDenied[] = {
    // Kernel code and its replacement
    {CALL(init_module), "loads code into the kernel"},
    {CALL(finit_module), "loads code into the kernel"},
    {CALL(delete_module), "takes code out of the kernel"},
    {CALL(kexec_load), "replaces the kernel"},
    {CALL(kexec_file_load), "replaces the kernel"},
    {CALL(bpf), "runs programs inside the kernel"},
    {CALL(perf_event_open), "watches other tasks and the kernel; large attack surface"},
    {CALL(userfaultfd), "stops the kernel in the middle of a copy; a tool of exploits"},
    {CALL(io_uring_setup), "a second system call interface that no filter sees"},
    {CALL(io_uring_enter), "as io_uring_setup"},
    {CALL(io_uring_register), "as io_uring_setup"},
    // Mounts and namespaces: the task keeps the ones that it was given
    {CALL(mount), "changes the view of the file system that the agent relies on"},
    {CALL(umount2), "uncovers what was mounted over"},
    {CALL(pivot_root), "leaves the task's root"},
    {CALL(fsopen), "the newer way to mount"},
    {CALL(fsconfig), "as fsopen"},
    {CALL(fsmount), "as fsopen"},
    {CALL(fspick), "as fsopen"},
    {CALL(move_mount), "as mount"},
    {CALL(open_tree), "clones mounts"},
    {CALL(mount_setattr), "makes read-only mounts writable"},
    {CALL(setns), "enters other namespaces"},
    {CALL(unshare), "new namespaces, user namespaces among them, widen the attack surface"},
    {SYS_clone3, ENOSYS, "clone3", "its flags lie in memory and cannot be judged; libraries fall back to clone"},
    {CALL(open_by_handle_at), "opens files outside the task's root by handle"},
    {CALL(name_to_handle_at), "makes the handles for open_by_handle_at"},
    {CALL(quotactl), "administers file systems"},
    {CALL(swapon), "memory of other tasks on a device of this one's choice"},
    {CALL(swapoff), "as swapon"},
    // The machine as a whole
    {CALL(reboot), "ends the guest"},
    {CALL(settimeofday), "one clock for all tasks; the host sets it"},
    {CALL(clock_settime), "as settimeofday"},
    {CALL(clock_adjtime), "as settimeofday"},
    {CALL(adjtimex), "as settimeofday"},
    {CALL(sethostname), "the name is given by the host"},
    {CALL(setdomainname), "as sethostname"},
    {CALL(syslog), "the kernel's log tells addresses"},
    {CALL(acct), "writes records of all processes"},
    {CALL(vhangup), "hangs up terminals"},
    {CALL(nfsservctl), "removed from Linux; never valid"},
    {CALL(lookup_dcookie), "profiling of the whole system"},
    // Keys of the kernel have no namespace
    {CALL(add_key), "keyrings are shared by all tasks of one uid"},
    {CALL(request_key), "as add_key; also starts a program of the host root"},
    {CALL(keyctl), "as add_key"},
    // Pages of others
    {CALL(move_pages), "moves pages of other processes"},
    {CALL(fanotify_init), "watches and blocks file access of others"},
    {CALL(kcmp), "tells about kernel addresses of other processes"},
#if defined(__x86_64__)
    {CALL(iopl), "direct access to devices"},
    {CALL(ioperm), "as iopl"},
    {CALL(modify_ldt), "16-bit segments; a history of kernel faults"},
    {CALL(uselib), "obsolete; a history of kernel faults"},
    {CALL(ustat), "obsolete"},
    {CALL(sysfs), "obsolete"},
    {CALL(_sysctl), "removed from Linux"},
    {CALL(create_module), "removed from Linux"},
    {CALL(get_kernel_syms), "removed from Linux"},
    {CALL(query_module), "removed from Linux"},
#endif
};
#undef CALL

constexpr std::uint32_t kNewNamespaces =
    CLONE_NEWNS | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | CLONE_NEWNET | CLONE_NEWCGROUP;

constexpr sock_filter statement(unsigned code, std::uint32_t value) {
  return {static_cast<std::uint16_t>(code), 0, 0, value};
}
constexpr sock_filter jump(unsigned code, std::uint32_t value, std::uint8_t if_true, std::uint8_t if_false) {
  return {static_cast<std::uint16_t>(code), if_true, if_false, value};
}
constexpr sock_filter answer(std::uint32_t action) { return statement(BPF_RET | BPF_K, action); }
constexpr sock_filter refuse(int error) {
  return answer(SECCOMP_RET_ERRNO | (static_cast<std::uint32_t>(error) & SECCOMP_RET_DATA));
}
constexpr sock_filter load(std::size_t offset) {
  return statement(BPF_LD | BPF_W | BPF_ABS, static_cast<std::uint32_t>(offset));
}
constexpr std::size_t kArgument0 = offsetof(seccomp_data, args);  // its low half, little-endian
}  // namespace

std::span<const DeniedCall> denied_calls() noexcept { return kDenied; }

std::vector<sock_filter> build_filter() {
  std::vector<sock_filter> code;
  code.push_back(load(offsetof(seccomp_data, arch)));
  code.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, kArchitecture, 1, 0));
  code.push_back(refuse(ENOSYS));  // 32-bit calls have other numbers, which this table does not judge
  code.push_back(load(offsetof(seccomp_data, nr)));
#if defined(__x86_64__)
  code.push_back(jump(BPF_JMP | BPF_JGE | BPF_K, 0x40000000, 0, 1));  // x32
  code.push_back(refuse(ENOSYS));
#endif
  for (const DeniedCall& call : kDenied) {
    code.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, static_cast<std::uint32_t>(call.number), 0, 1));
    code.push_back(refuse(call.error));
  }
  // clone: flags are its first argument here; a new namespace of any kind is refused.
  code.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone, 0, 4));
  code.push_back(load(kArgument0));
  code.push_back(jump(BPF_JMP | BPF_JSET | BPF_K, kNewNamespaces, 0, 1));
  code.push_back(refuse(EPERM));
  code.push_back(answer(SECCOMP_RET_ALLOW));
  // socket: vsock leads to the host.
  code.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, SYS_socket, 0, 3));
  code.push_back(load(kArgument0));
  code.push_back(jump(BPF_JMP | BPF_JEQ | BPF_K, AF_VSOCK, 0, 1));
  code.push_back(refuse(EAFNOSUPPORT));
  code.push_back(answer(SECCOMP_RET_ALLOW));
  return code;
}

int install_filter(std::span<const sock_filter> filter) noexcept {
  // SAFETY: the kernel reads the program only.
  const sock_fprog program{static_cast<unsigned short>(filter.size()), const_cast<sock_filter*>(filter.data())};
  return ::syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0U, &program) == 0 ? 0 : errno;
}

}  // namespace sandforge::agent
