// SPDX-License-Identifier: Apache-2.0
// FileService: a sandbox's file server as the engine knows it, and the two ends of the stream between guest and server.
// The stream is there from the guest's start; the server only when there is something to serve.
//
//   create -> [guest launched with guest_end()] -> start -> serve, withdraw ... -> stop
//
// What the guest asks before there is a server waits in the stream. A server that has ended is not started again: its
// guest has lost what it knew of open files, and every request is answered by EIO.
#pragma once

#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>

#include "base/result.hpp"
#include "base/unique_fd.hpp"
#include "fsd/client.hpp"

namespace sandforge::engine {

class FileService {
 public:
  static base::Result<std::unique_ptr<FileService>> create();

  // Loop thread only. The descriptor for the launch plan, until the guest has it.
  int guest_end() const noexcept { return guest_end_.get(); }
  void guest_has_its_end() noexcept { guest_end_.reset(); }

  // Loop thread only. Readable when the server has ended; -1 before start().
  int exited_fd() const noexcept;
  // Loop thread only. No request is answered any more: what waits in the guest gets EIO.
  void stop() noexcept;

  // These three: any thread but the loop's, one at a time; each BLOCKS until the server has answered.
  // start() comes first, and waits until the server is jailed. `directory` is the first that it will serve: under root
  // it runs with the rights of its owner. Idempotent.
  // Errors: not_found (helper), those of its jail, disconnected "file_server_gone".
  base::Status start(const std::filesystem::path& helper_directory, int directory);
  base::Status serve(std::uint32_t index, int directory, bool read_only);
  base::Status withdraw(std::uint32_t index);

 private:
  FileService(base::UniqueFd guest_end, base::UniqueFd server_end)
      : guest_end_(std::move(guest_end)), server_end_(std::move(server_end)) {}

  base::UniqueFd guest_end_;
  std::optional<fsd::FileServer> server_;  // of the threads that serve
  mutable std::mutex mutex_;
  // Under mutex_: start() runs beside the loop.
  base::UniqueFd server_end_;  // until start()
  base::UniqueFd exited_;      // a second descriptor of the server's pidfd, for the loop
  bool stopped_ = false;
};

}  // namespace sandforge::engine
