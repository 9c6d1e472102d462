// SPDX-License-Identifier: Apache-2.0
// FileOperation: what every operation on guest files has in common: its outcome, and a caller that waits as long as
// there is progress. The ones that stream contents are in file_stream.hpp, the calls that use them in files.hpp.
#pragma once

#include <condition_variable>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>

#include "engine/operation.hpp"

namespace sandforge::engine {

class FileOperation : public Operation {
 public:
  // `path` is for messages. A request without contents uses this class as it is, with Kind::Call.
  FileOperation(std::shared_ptr<Sandbox> sandbox, Kind kind, std::string request, std::string path);

  // After begin(): waits for the Result. BLOCKS. Errors: the guest's, timed_out "stalled", disconnected.
  base::Result<wire::ResultHeader> wait_result();
  // Any thread: lets go of the operation, which the guest then undoes.
  void abandon();

  void end_by_sandbox(wire::EndedBy verdict, const base::Error& error) final;
  const std::string& path() const noexcept { return path_; }

 protected:
  void on_failed(base::Error error) final;
  void on_result(base::Result<wire::ResultHeader> result) override;

  // Loop thread: the outcome, once; lets go of the stream.
  void finish(base::Result<wire::ResultHeader> outcome);
  // Loop thread, lock held: bytes moved, so the guest is alive.
  void progress() noexcept { ++progress_; }
  // Caller's thread: waits until `ready` or the outcome, as long as there is progress every limits::kFileStallMs.
  template <typename Ready>
  base::Status wait_until(std::unique_lock<std::mutex>& lock, Ready ready);
  base::Error stalled_error() const;

  std::mutex mutex_;
  std::condition_variable changed_;
  std::optional<base::Result<wire::ResultHeader>> outcome_;  // under mutex_, set once by the loop thread

 private:
  bool wait_slice(std::unique_lock<std::mutex>& lock);  // false: a whole stall time-out without progress

  const std::string path_;
  std::uint64_t progress_ = 0;  // under mutex_
  std::uint64_t seen_ = 0;      // likewise: progress at the start of the slice
};

template <typename Ready>
base::Status FileOperation::wait_until(std::unique_lock<std::mutex>& lock, Ready ready) {
  while (!ready() && !outcome_) {
    if (wait_slice(lock)) continue;
    if (ready() || outcome_) break;
    lock.unlock();
    abandon();
    return stalled_error();
  }
  return {};
}

// Asks for an operation without contents and waits for its Result. BLOCKS. `path` is for messages.
// Errors: those of begin() and of wait_result().
base::Result<wire::ResultHeader> call_guest(const std::shared_ptr<Sandbox>& sandbox, std::string request,
                                            const std::string& path);

// "guest file "/x": No such file or directory", with a reason by errno.
base::Error guest_file_error(const wire::ResultHeader& result, std::string_view path);

}  // namespace sandforge::engine
