// SPDX-License-Identifier: Apache-2.0
// Event: one thread waits for another, once: a system call on each side, where a condition variable takes two or three.
#pragma once

#include <semaphore.h>

#include <cerrno>

namespace sandforge::base {

class Event {
 public:
  Event() noexcept { ::sem_init(&semaphore_, 0, 0); }
  ~Event() { ::sem_destroy(&semaphore_); }
  Event(const Event&) = delete;
  Event& operator=(const Event&) = delete;

  // Any thread, at most once. What it wrote before is seen by whoever waited.
  void post() noexcept { ::sem_post(&semaphore_); }
  // BLOCKS until post(). One thread, once.
  void wait() noexcept {
    while (::sem_wait(&semaphore_) != 0 && errno == EINTR) {
    }
  }

 private:
  sem_t semaphore_;
};

}  // namespace sandforge::base
