// SPDX-License-Identifier: Apache-2.0
// WorkerPool: a fixed number of threads for work that may block, with a bounded queue and a share for each key.
#pragma once

#include <condition_variable>
#include <cstddef>
#include <functional>
#include <list>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

namespace sandforge::server {

class WorkerPool {
 public:
  // At most `per_key` jobs of one (not empty) key run at once; further ones wait without holding a thread.
  WorkerPool(std::size_t threads, std::size_t queue_max, std::size_t per_key);
  // BLOCKS until running jobs have ended; jobs still waiting are dropped.
  ~WorkerPool();
  WorkerPool(const WorkerPool&) = delete;
  WorkerPool& operator=(const WorkerPool&) = delete;

  // Any thread. False when the queue is full. Jobs must not throw.
  bool submit(std::string key, std::function<void()> job);

 private:
  struct Job {
    std::string key;
    std::function<void()> run;
  };
  void work();
  std::list<Job>::iterator next_job();

  const std::size_t queue_max_;
  const std::size_t per_key_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Job> jobs_;
  std::map<std::string, std::size_t> running_;  // by key, only keys with running jobs
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sandforge::server
