// SPDX-License-Identifier: Apache-2.0
// A guest under sandforge-vmm: the control protocol (vmm/monitor/control.hpp) seen from its owner, and what a new
// process needs to become the owner of a guest whose engine has ended.
//
//   launch with outlives_engine --> record() is kept on disk --> the engine dies --> adopt_kvm(record) --> the same
//   guest: connect() starts a new session with its agent. The tasks of the old session have ended with it.
#pragma once

#include <chrono>
#include <memory>
#include <string>

#include "backend/guest_cgroup.hpp"
#include "backend/privilege.hpp"
#include "backend/process_worker.hpp"
#include "vmm/monitor/control.hpp"
#include "wire/codec.hpp"

namespace sandforge::backend {

// Who a monitor is: a process id alone may be somebody else's by now.
struct KvmRecord {
  static constexpr const char* kName = "worker record";
  static constexpr std::uint32_t kMagic = 0x31525753;  // "SWR1"
  std::uint32_t magic = kMagic;
  std::uint32_t pid = 0;
  std::uint64_t start_time = 0;  // field 22 of /proc/PID/stat
  std::string boot_id;           // of the host
  std::uint32_t user = 0;        // its id, 0: the engine's own
  std::string cgroup;            // folder, may be empty

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.magic);
    archive(self.pid);
    archive(self.start_time);
    archive.text(self.boot_id, 64);
    archive(self.user);
    archive.text(self.cgroup, 4096);
  }
};

// An id of the pool, given back with the object.
class GuestId {
 public:
  // Errors: of GuestIds::take().
  static base::Result<GuestId> take(std::shared_ptr<GuestIds> pool) {
    SANDFORGE_TRY(const std::uint32_t number, pool->take());
    return GuestId(std::move(pool), number);
  }
  GuestId(std::shared_ptr<GuestIds> pool, std::uint32_t number) : pool_(std::move(pool)), number_(number) {
    pool_->reserve(number);
  }
  GuestId(GuestId&&) noexcept = default;
  GuestId& operator=(GuestId&&) = delete;
  ~GuestId() {
    if (pool_) pool_->give_back(number_);
  }
  std::uint32_t number() const noexcept { return number_; }

 private:
  std::shared_ptr<GuestIds> pool_;
  std::uint32_t number_;
};

// Loop thread of the engine only.
class KvmWorker final : public Worker {
 public:
  // `patience`: how long a request may take.
  KvmWorker(ProcessWorker process, base::UniqueFd control, GuestCgroup cgroup, GuestId id, KvmRecord record,
            std::chrono::milliseconds patience = std::chrono::seconds(5));

  base::Result<base::UniqueFd> connect() override { return process_.connect(); }
  int exited_fd() const override { return process_.exited_fd(); }
  std::string describe_exit() override;
  std::optional<base::Error> refusal() override;
  void kill() override { process_.kill(); }

  // Each asks the monitor and BLOCKS until it has answered, which takes it well under a millisecond, or the patience
  // is over. Errors: disconnected, timed_out, and what the monitor refused as invalid_argument or conflict.
  base::Result<vmm::ControlAnswer> status() { return ask(vmm::ControlKind::Status, 0); }
  // Nothing of the guest moves when it has returned: no vCPU, no device.
  base::Status pause();
  base::Status resume();
  base::Status set_balloon(std::uint64_t bytes);

  const KvmRecord& record() const noexcept { return record_; }
  // The guest goes on without this object. Only for one that was launched to outlive its engine.
  void leave() noexcept;

 private:
  base::Result<vmm::ControlAnswer> ask(vmm::ControlKind kind, std::uint64_t value);
  base::Result<vmm::ControlAnswer> read_answer(std::chrono::steady_clock::time_point until);
  base::Status send_packet(const std::string& packet, std::chrono::steady_clock::time_point until);

  // The group is removed after the process has gone: members are destroyed from the last to the first.
  GuestId id_;
  GuestCgroup cgroup_;
  ProcessWorker process_;
  base::UniqueFd control_;
  KvmRecord record_;
  std::chrono::milliseconds patience_;
  std::uint32_t next_id_ = 1;
};

// Takes the directory and the log out of `files`.
base::Result<std::unique_ptr<Worker>> make_kvm_worker(base::Child child, base::UniqueFd exited, LaunchFiles& files,
                                                      base::UniqueFd control, GuestCgroup cgroup, GuestId id);

// The guest of `record`, whose sockets are in `directory`. It is killed with the worker, as one that was launched here.
// `ids`: the pool of the backend that goes on launching. Errors: not_found "guest_gone" when that very process has
// ended, disconnected when it does not answer.
base::Result<std::unique_ptr<KvmWorker>> adopt_kvm(const KvmRecord& record, const std::filesystem::path& directory,
                                                   std::shared_ptr<GuestIds> ids);

}  // namespace sandforge::backend
