// SPDX-License-Identifier: Apache-2.0
// Workers: the threads on which everything runs that may block in a file system of the guest. A bounded number; what
// comes while all are busy waits in a queue. They are detached: a thread stuck in a dead mount must not hold the rest.
#pragma once

#include <cstddef>
#include <functional>
#include <memory>

namespace sandforge::agent {

// A detached thread. An errno value, 0 when it runs; `argument` is the thread's then.
int start_thread(std::size_t stack_size, void* (*main)(void*), void* argument);

class Workers {
 public:
  using Job = std::function<void()>;

  Workers();
  // Any thread. The job may outlive this object and must own what it uses; it comes back by Loop::post.
  void submit(Job job);

 private:
  struct Shared;
  static void* thread_main(void* shared);

  std::shared_ptr<Shared> shared_;
};

}  // namespace sandforge::agent
