// SPDX-License-Identifier: Apache-2.0
// WorkerPool: threads for work that may block, started when needed and then kept, with a bounded queue and a share for
// each key.
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
  // At most `threads` threads; one is there at once, or the constructor throws.
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
  void add_thread();
  std::list<Job>::iterator next_job();

  const std::size_t threads_max_;
  const std::size_t queue_max_;
  const std::size_t per_key_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::list<Job> jobs_;
  std::map<std::string, std::size_t> running_;  // by key, only keys with running jobs
  std::size_t idle_ = 0;                        // threads that wait for a job
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace sandforge::server
