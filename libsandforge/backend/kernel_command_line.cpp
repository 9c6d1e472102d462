// SPDX-License-Identifier: Apache-2.0
// The parameters of a guest's kernel and why each is there. Figures: Debian's 6.1 cloud kernel, one vCPU, 512 MiB.
#include "backend/kernel_command_line.hpp"

namespace sandforge::backend {
namespace {

// Jiffies per second of the slowest-ticking kernel that is likely (CONFIG_HZ=100; Debian's has 250).
constexpr std::uint64_t kSmallestHz = 100;

}  // namespace

std::string kernel_command_line(const KernelBootFacts& facts) {
  std::string line;
  const auto add = [&line](const std::string& parameter) {
    if (!line.empty()) line += ' ';
    line += parameter;
  };

  // A dead kernel ends its machine at once: panic -> reboot without a wait, and reboot by triple fault, which every
  // monitor takes for the end (no keyboard controller, no firmware to ask).
  add("panic=-1");
  add("reboot=t");

  // What the kernel says: nothing but a panic. Console output costs an exit per byte.
  if (facts.serial_console) add("console=ttyS0");
  add("quiet");
  add("loglevel=3");
  // Without a console, look for no serial ports either: six exits for each of the four places where a PC had one.
  if (!facts.serial_console) add("8250.nr_uarts=0");

  // Self-tests of every cipher: 890 M of 1,650 M instructions of a boot. The distribution ran them when it built.
  add("cryptomgr.notests");
  // What these offer is for privileged BPF programs that call into the kernel; to offer it, the kernel parses the type
  // information of all of itself (60 M instructions). With cubic goes its congestion control; what is then left, reno,
  // has a link to the host alone to control, which loses nothing.
  // tracer_init_tracefs and trace_eval_init describe each of the kernel's 2,000 trace points in a file system of its
  // own: 190 M instructions and 17 MiB. The agent mounts no tracefs; see doc/decisions/0005-no-trace-files.md.
  // crypto_kdf108_init and blake2s_mod_init are self-tests, which cryptomgr.notests does not reach. nvme_core_init
  // makes queues and threads for disks on PCI.
  add("initcall_blacklist=kfunc_init,bpf_prog_test_run_init,bpf_tcp_ca_kfunc_init,cubictcp_register,"
      "bpf_rstat_kfunc_init,bpf_key_sig_kfuncs_init,tracer_init_tracefs,trace_eval_init,crypto_kdf108_init,"
      "blake2s_mod_init,nvme_core_init");
  // Grace periods by interrupt, not by waiting for ticks: each synchronize_rcu of the boot would idle 4 ms and more.
  add("rcupdate.rcu_expedited=1");
  // Only the security module that tasks are confined with; the others cost start-up time and have no policy.
  add("lsm=landlock");
  // The random generator is ready from the CPU's RDRAND. The host's own entropy comes on top, with the Welcome.
  add("random.trust_cpu=on");
  // The initrd's pages stay what they are. To free them the kernel overwrites each: time, and memory of the host that
  // the file no longer backs, for 3 MB in the guest.
  add("retain_initrd");
  // No PCI and no keyboard controller in these machines: do not look for them.
  add("pci=off");
  add("i8042.noprobe");
  // The bounce buffer (64 MiB in guests of 4 GiB and more) serves devices that cannot reach all memory: none here.
  add("swiotlb=noforce");
  // A vCPU that an overcommitted host did not run for 20 s is no lock-up; and no wake-ups in idle guests.
  add("nowatchdog");
  // Several vCPUs: the TSCs of a monitor's vCPUs are one clock; never fall back to a slower source, nor watch it.
  add("tsc=reliable");

  // Per-CPU memory page by page: else the kernel fills a whole 2 MiB of zeroes for the 160 KiB that it keeps of it: 7 M
  // instructions of a boot, nearly all of them the host's page faults.
  add("percpu_alloc=page");

  if (facts.emulated_cpu) {
    // The early-boot hang. The machine has no PIT, HPET or PM timer to measure the TSC against, so the kernel does not
    // trust it, has then no clock to calibrate the local APIC timer by either, and waits for ticks that nothing sends:
    // 6 of 6 boots hang (with the PIT on, some 1 in 3: its ticks are lost at the wrong moment). Told the frequency, it
    // calibrates the APIC timer by the TSC and needs no tick at all.
    add("tsc_early_khz=" + std::to_string(facts.tsc_khz));
    // The other vCPUs would each calibrate their delay loop by counting ticks, 130 ms and prone to fail under load.
    // The loop is counted in TSC cycles per jiffy; with the longest likely jiffy a delay is never too short.
    add("lpj=" + std::to_string(facts.tsc_khz * 1000 / kSmallestHz));
    // The check that the timer interrupt works would judge by ticks within a fixed number of loops.
    add("no_timer_check");
    // For the agent. The kernel still measures the local APIC timer, by the TSC, and wrongly when its vCPU is not run
    // at that moment.
    if (facts.timer_khz != 0) add("sandforge.timer_khz=" + std::to_string(facts.timer_khz));
  }
  return line;
}

}  // namespace sandforge::backend
