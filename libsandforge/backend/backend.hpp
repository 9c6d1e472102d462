// SPDX-License-Identifier: Apache-2.0
// The backend interface: Backend starts guests of one kind, Worker is one running guest. Everything above is the same
// for all of them. What arrives later (pause, snapshot, restore) joins Worker together with its capability bit.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::backend {

// Numbers are those of sandforge.h; ordered by strength.
enum class Isolation : std::uint32_t { None = 0, UserKernel = 1, SoftwareVm = 2, HardwareVm = 3 };

struct Probe {
  bool available = false;
  Isolation isolation = Isolation::None;  // what a launch would give
  std::string detail;                     // version and accelerator
  std::string reason;                     // why it is not available
  std::string remedy;                     // what to do about it
  bool uses_images = true;                // false: the plan has no kernel, initrd, root image and disk
};

// Fully resolved: files and numbers. Defaults, policy and naming were settled above.
struct LaunchPlan {
  std::string id;                   // of the sandbox, for names in logs
  std::filesystem::path directory;  // the sandbox's own, 0700: sockets and logs go here; removed by the engine
  std::filesystem::path kernel;     // uncompressed vmlinux (ELF)
  std::filesystem::path initrd;
  std::filesystem::path root_image;  // EROFS, shared, read-only
  std::filesystem::path disk;        // private, formatted, sparse
  std::uint32_t cpus = 1;
  std::uint64_t memory_mib = 0;
  // Stream socket over which the guest's FUSE requests go to its file server; borrowed for the launch. -1: none.
  int file_server = -1;
  // The guest lives on when this process ends, for another to adopt it (linux-kvm only: backend/kvm/worker.hpp).
  bool outlives_engine = false;
};

// One guest. Destroying it kills and reaps (BLOCKS shortly). Loop thread of the engine only.
class Worker {
 public:
  virtual ~Worker() = default;

  // A stream socket to the agent, non-blocking, usable at once: what is written before the guest is up waits for it.
  virtual base::Result<base::UniqueFd> connect() = 0;
  // Readable once the guest has ended, for whatever reason. Borrowed, valid for the worker's life.
  virtual int exited_fd() const = 0;
  // Once it has ended: one line on how, e.g. "qemu exited with status 1: <last line of its log>".
  virtual std::string describe_exit() = 0;
  // Once it has ended: why it could not start its guest at all, where it says so. Untrusted text.
  virtual std::optional<base::Error> refusal() { return std::nullopt; }
  // Ends the guest now; exited_fd tells when it is gone. Idempotent.
  virtual void kill() = 0;
};

class Backend {
 public:
  virtual ~Backend() = default;
  virtual const char* name() const = 0;  // "linux-qemu"
  // What this host can do, cheaply (no guest is started). Any thread.
  virtual Probe probe() const = 0;
  // Starts a guest; the agent's hello comes over connect(). Loop thread; must not wait for the guest.
  virtual base::Result<std::unique_ptr<Worker>> launch(const LaunchPlan& plan) = 0;
};

// The one table of backends, in the order in which `auto` prefers them. `auto` never picks one whose isolation is None.
// `helper_directory` is where helper programs are; empty: see base/helpers.hpp.
std::vector<std::unique_ptr<Backend>> make_backends(const std::filesystem::path& helper_directory = {});

}  // namespace sandforge::backend
