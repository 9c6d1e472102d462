// SPDX-License-Identifier: Apache-2.0
#include "server/worker_pool.hpp"

#include <system_error>
#include <utility>

namespace sandforge::server {

WorkerPool::WorkerPool(std::size_t threads, std::size_t queue_max, std::size_t per_key)
    : threads_max_(threads), queue_max_(queue_max), per_key_(per_key) {
  threads_.reserve(threads);
  threads_.emplace_back([this] { work(); });
}

WorkerPool::~WorkerPool() {
  std::list<Job> dropped;  // destroyed after the lock: a job may own anything
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    dropped.swap(jobs_);
  }
  wake_.notify_all();
  for (std::thread& thread : threads_) thread.join();
}

bool WorkerPool::submit(std::string key, std::function<void()> job) {
  {
    const std::lock_guard lock(mutex_);
    if (stopping_ || jobs_.size() >= queue_max_) return false;
    jobs_.push_back({std::move(key), std::move(job)});
    // Jobs without a thread that waits for them. Some may wait for their key's share: then a thread is early, no harm.
    if (jobs_.size() > idle_ && threads_.size() < threads_max_) add_thread();
  }
  wake_.notify_one();
  return true;
}

// Called under the lock. Without a further thread, the ones that there are do the work.
void WorkerPool::add_thread() {
  try {
    threads_.emplace_back([this] { work(); });
  } catch (const std::system_error&) {
  }
}

// The oldest job whose key has a share left. Called under the lock.
std::list<WorkerPool::Job>::iterator WorkerPool::next_job() {
  for (auto job = jobs_.begin(); job != jobs_.end(); ++job) {
    const auto found = running_.find(job->key);
    if (job->key.empty() || found == running_.end() || found->second < per_key_) return job;
  }
  return jobs_.end();
}

void WorkerPool::work() {
  std::unique_lock lock(mutex_);
  for (;;) {
    auto found = jobs_.end();
    ++idle_;
    wake_.wait(lock, [&] { return stopping_ || (found = next_job()) != jobs_.end(); });
    --idle_;
    if (stopping_) return;
    Job job = std::move(*found);
    jobs_.erase(found);
    if (!job.key.empty()) ++running_[job.key];
    lock.unlock();
    job.run();
    job.run = nullptr;
    lock.lock();
    if (!job.key.empty() && --running_[job.key] == 0) running_.erase(job.key);
    wake_.notify_one();  // a job of this key may have waited for its share
  }
}

}  // namespace sandforge::server
