// SPDX-License-Identifier: Apache-2.0
// Loop: what the connections of one server share. Pulls in Asio: only for server.cpp and connection*.cpp.
#pragma once

#include <asio.hpp>

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "server/caps.hpp"
#include "server/guard.hpp"
#include "server/log.hpp"
#include "server/router.hpp"
#include "server/routes.hpp"
#include "server/worker_pool.hpp"

namespace sandforge::server {

class Connection;

// One loop thread runs `io`; members without a note belong to it.
struct Loop {
  explicit Loop(LogLevel level) : log(level) {}

  asio::io_context io{1};  // post() is for any thread
  Log log;                 // any thread
  Router router;
  Context context;  // any thread
  const Tokens* tokens = nullptr;

  std::unordered_set<std::shared_ptr<Connection>> connections;
  std::size_t body_bytes = 0;                                // buffered by all connections
  bool draining = false;                                     // no connection is kept alive any more
  std::function<void()> connection_closed;                   // an accept that waited for a free place may go on
  std::string scratch = std::string(64 * caps::kKiB, '\0');  // every read goes through it

  // Any thread may submit. Ended before the engine, which their jobs use.
  std::unique_ptr<WorkerPool> quick =
      std::make_unique<WorkerPool>(caps::kQuickWorkers, caps::kQueuedJobs, caps::kQuickWorkers);
  std::unique_ptr<WorkerPool> files =
      std::make_unique<WorkerPool>(caps::kFileWorkers, caps::kQueuedJobs, caps::kFileJobsPerSandbox);
  std::unique_ptr<WorkerPool> destroy =
      std::make_unique<WorkerPool>(caps::kDestroyWorkers, caps::kQueuedJobs, caps::kDestroyWorkers);

  WorkerPool& pool(Lane lane) {
    if (lane == Lane::Files) return *files;
    return lane == Lane::Destroy ? *destroy : *quick;
  }
  // BLOCKS until running jobs have ended. Nothing submits any more.
  void end_workers() {
    files.reset();
    quick.reset();
    destroy.reset();
  }
};

}  // namespace sandforge::server
