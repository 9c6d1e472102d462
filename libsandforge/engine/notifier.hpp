// SPDX-License-Identifier: Apache-2.0
// Notifier: a callback of the user that is called at most once until it is armed again, and never after silence().
#pragma once

#include <mutex>

namespace sandforge::engine {

using NotifyFn = void (*)(void* user_data);

class Notifier {
 public:
  Notifier() = default;
  Notifier(NotifyFn function, void* user_data) : function_(function), user_data_(user_data) {}

  // Loop thread, no lock of the library held but this notifier's own, which only silence() takes.
  void call() {
    const std::lock_guard lock(mutex_);
    if (function_ != nullptr) function_(user_data_);
  }
  // Waits for a call that runs on another thread. Recursive: may be called from within the callback.
  void silence() {
    const std::lock_guard lock(mutex_);
    function_ = nullptr;
  }
  // Without a callback there is nothing to arm: saves the callers the locking.
  bool exists() const noexcept { return exists_; }

 private:
  std::recursive_mutex mutex_;
  NotifyFn function_ = nullptr;
  void* user_data_ = nullptr;
  const bool exists_ = function_ != nullptr;
};

}  // namespace sandforge::engine
