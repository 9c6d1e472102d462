// SPDX-License-Identifier: Apache-2.0
#include "engine/core.hpp"

#include <csignal>
#include <future>
#include <system_error>

namespace sandforge::engine {

Core::Core(Directories directories, policy::Policy policy, LogFn log, LogLevel level)
    : directories_(std::move(directories)), policy_(std::move(policy)), log_(std::move(log)), level_(level) {}

Core::~Core() { close(); }

base::Status Core::start() {
  // The new thread inherits the mask: blocked here for the moment of its start, so that no signal of the host program
  // is ever delivered to it.
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  base::Status status;
  try {
    thread_ = std::thread([this] { loop_.run(); });
  } catch (const std::system_error& error) {
    status = base::os_error("cannot start the engine's thread", error.code().value());
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  if (status) (void)pthread_setname_np(thread_.native_handle(), "sandforge");
  return status;
}

void Core::close() {
  {
    const std::lock_guard lock(mutex_);
    closed_ = true;
  }
  if (!thread_.joinable()) return;
  // Posted last, so all work posted before has run by then.
  loop_.post([this] { loop_.stop(); });
  thread_.join();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
}

bool Core::post(base::EventLoop::Task task) {
  // Under the mutex, so that nothing can be posted behind close()'s own last task: such a task would never run, and
  // would keep alive what it refers to.
  const std::lock_guard lock(mutex_);
  if (closed_) return false;
  loop_.post(std::move(task));
  return true;
}

bool Core::run_or_post(base::EventLoop::Task task) {
  // Asked within the turn: close() comes before it, and is seen, or its last task comes behind it.
  if (loop_.run_if_idle([this] { return !closed(); }, task)) return true;
  return post(std::move(task));
}

base::Status Core::call(std::function<base::Status()> work) {
  SANDFORGE_TRY_STATUS(may_block());
  struct Call {
    std::promise<base::Status> done;
    std::function<base::Status()> work;
  };
  const auto shared = std::make_shared<Call>();
  shared->work = std::move(work);
  auto answer = shared->done.get_future();
  if (!post([shared] { shared->done.set_value(shared->work()); })) return closed_error();
  return answer.get();
}

bool Core::closed() const {
  const std::lock_guard lock(mutex_);
  return closed_;
}

base::Error Core::closed_error() {
  return base::make_error(base::Code::Disconnected, "engine_closed", "the engine of this handle was closed");
}

base::Status Core::may_block() const {
  if (closed()) return closed_error();
  if (loop_.in_loop_thread()) {
    return base::make_error(base::Code::Conflict, "called_in_callback",
                            "a function that blocks was called in a callback of the engine",
                            "call it on a thread of your own");
  }
  return {};
}

void Core::run_blocking(std::function<void()> work, std::function<void()> done) {
  workers_.emplace_back();
  const auto worker = std::prev(workers_.end());
  auto finish = [this, worker, done = std::move(done)] {
    if (worker->joinable()) worker->join();  // it is at its end: posting this was its last act
    workers_.erase(worker);
    done();
  };
  try {
    *worker = std::thread([this, work, finish] {
      (void)pthread_setname_np(pthread_self(), "sandforge-work");
      work();
      loop_.post(finish);
    });
  } catch (const std::system_error&) {
    // No thread to be had: slower for the others, but right.
    work();
    loop_.post(finish);
  }
}

void Core::log(LogLevel level, std::string_view line) const {
  if (!log_ || level > level_) return;
  log_(level, std::string(line).c_str());
}

}  // namespace sandforge::engine
