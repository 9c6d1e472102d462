// SPDX-License-Identifier: Apache-2.0
#include "agent/workers.hpp"

#include <pthread.h>

#include <condition_variable>
#include <deque>
#include <mutex>
#include <utility>

#include "base/limits.hpp"

namespace sandforge::agent {

namespace {
// Jobs keep their buffers on the heap; the default of 8 MiB would only be address space, yet counts against overcommit.
constexpr std::size_t kStackSize = 256 * 1024;
}  // namespace

int start_thread(std::size_t stack_size, void* (*main)(void*), void* argument) {
  pthread_attr_t attributes;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, stack_size);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  pthread_t thread;
  const int error = pthread_create(&thread, &attributes, main, argument);
  pthread_attr_destroy(&attributes);
  return error;
}

struct Workers::Shared {
  std::mutex mutex;
  std::condition_variable wanted;
  std::deque<Job> queue;
  std::size_t threads = 0;
  std::size_t idle = 0;
};

Workers::Workers() : shared_(std::make_shared<Shared>()) {}

void Workers::submit(Job job) {
  bool grow = false;
  {
    const std::lock_guard lock(shared_->mutex);
    shared_->queue.push_back(std::move(job));
    grow = shared_->idle < shared_->queue.size() && shared_->threads < limits::kAgentThreadsMax;
    if (grow) ++shared_->threads;
  }
  shared_->wanted.notify_one();
  if (!grow) return;
  auto* argument = new std::shared_ptr<Shared>(shared_);
  if (start_thread(kStackSize, &Workers::thread_main, argument) != 0) {
    // Out of memory for a thread: those that exist take the job, or the next submit tries again.
    delete argument;
    const std::lock_guard lock(shared_->mutex);
    --shared_->threads;
  }
}

void* Workers::thread_main(void* argument) {
  const std::unique_ptr<std::shared_ptr<Shared>> owned(static_cast<std::shared_ptr<Shared>*>(argument));
  Shared& shared = **owned;
  while (true) {
    Job job;
    {
      std::unique_lock lock(shared.mutex);
      ++shared.idle;
      shared.wanted.wait(lock, [&] { return !shared.queue.empty(); });
      --shared.idle;
      job = std::move(shared.queue.front());
      shared.queue.pop_front();
    }
    job();
  }
}

}  // namespace sandforge::agent
