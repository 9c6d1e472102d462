// SPDX-License-Identifier: Apache-2.0
// Create, destroy, expire, fail: what a sandbox says of itself, and what is left of it.
#include <chrono>
#include <condition_variable>
#include <ctime>
#include <mutex>
#include <thread>

#include "support.hpp"

using namespace conformance;

namespace {

// A condition that callbacks of the engine set.
class Signal {
 public:
  static void fire(void* signal) { static_cast<Signal*>(signal)->set(); }
  bool wait(std::chrono::seconds most = std::chrono::seconds(130)) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, most, [this] { return count_ > 0; });
  }
  int count() {
    const std::lock_guard lock(mutex_);
    return count_;
  }

 private:
  void set() {
    const std::lock_guard lock(mutex_);
    ++count_;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  int count_ = 0;
};

Sandbox begin(const sandforge_sandbox_spec& spec, Signal* signal = nullptr) {
  Failure failure;
  sandforge_sandbox* sandbox = nullptr;
  const sandforge_code code = sandforge_sandbox_create_begin(engine(), &spec, signal ? &Signal::fire : nullptr, signal,
                                                             &sandbox, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return Sandbox(sandbox);
}

}  // namespace

TEST_CASE("a sandbox with nothing but a backend gets the defaults, and says so") {
  sandforge_sandbox_spec spec = SANDFORGE_SANDBOX_SPEC_INIT;
  spec.backend = backend_name().c_str();
  const std::time_t before = std::time(nullptr);
  const Guest guest(spec);
  const Info info = info_of(guest.get());
  CHECK(std::string(info->id).size() == 20);
  CHECK(std::string(info->id).substr(0, 4) == "sbx-");
  CHECK(std::string(info->id) == sandforge_sandbox_id(guest.get()));
  CHECK(info->state == SANDFORGE_STATE_READY);
  CHECK(std::string(info->backend) == backend_name());
  CHECK((info->isolation == SANDFORGE_ISOLATION_NONE) == is_fake());
  CHECK(std::string(info->image) == "default");
  CHECK(std::string(info->image_digest).empty() == is_fake());
  CHECK(info->cpu == 2);
  CHECK(info->memory_mb == 512);
  CHECK(info->disk_gb == 10);
  CHECK(info->timeout_sec == 3600);
  CHECK(std::string(info->network_mode) == "offline");
  CHECK(std::string(info->task_isolation) == "container");
  CHECK(info->created_at >= before);
  CHECK(info->expires_at >= info->created_at + 3600);
  CHECK(info->ready_after_ns > 0);
  CHECK(std::string(info->failure).empty());
}

TEST_CASE("a sandbox can be opened by id and is on the list; an unknown id is not_found") {
  const Guest guest(small_spec("conf-open"));
  const Sandbox again = open_sandbox("conf-open");
  CHECK(std::string(sandforge_sandbox_id(again.get())) == "conf-open");
  sandforge_sandbox_list* raw = nullptr;
  REQUIRE(sandforge_engine_list(engine(), &raw, nullptr) == SANDFORGE_OK);
  const List list(raw);
  bool found = false;
  for (std::size_t i = 0; i < list->count; ++i) found = found || std::string(list->items[i]->id) == "conf-open";
  CHECK(found);
  sandforge_sandbox* none = nullptr;
  Failure failure;
  CHECK(sandforge_sandbox_open(engine(), "conf-none", &none, failure.slot()) == SANDFORGE_NOT_FOUND);
  CHECK(failure.reason() == "no_sandbox");
}

TEST_CASE("an id is taken while its sandbox lives, a tombstone after it, and free to be used again") {
  {
    const Guest guest(small_spec("conf-id"));
    sandforge_sandbox_spec spec = small_spec("conf-id");
    sandforge_sandbox* second = nullptr;
    Failure failure;
    CHECK(sandforge_sandbox_create(engine(), &spec, &second, failure.slot()) == SANDFORGE_CONFLICT);
    CHECK(failure.reason() == "id_taken");
    CHECK(failure.message() == "sandbox ID already exists");
    CHECK(second == nullptr);
  }
  const Sandbox tombstone = open_sandbox("conf-id");
  const Info info = info_of(tombstone.get());
  CHECK(info->state == SANDFORGE_STATE_DESTROYED);
  CHECK(std::string(info->failure_reason) == "destroyed");
  sandforge_sandbox_list* raw = nullptr;
  REQUIRE(sandforge_engine_list(engine(), &raw, nullptr) == SANDFORGE_OK);
  const List list(raw);
  for (std::size_t i = 0; i < list->count; ++i) CHECK(std::string(list->items[i]->id) != "conf-id");
  const Guest reborn(small_spec("conf-id"));
  CHECK(info_of(open_sandbox("conf-id").get())->state == SANDFORGE_STATE_READY);
}

TEST_CASE("destroying twice is fine, also at once, and a destroyed sandbox refuses work") {
  const Guest guest;
  std::thread other([&] { (void)sandforge_sandbox_destroy(guest.get(), nullptr); });
  CHECK(sandforge_sandbox_destroy(guest.get(), nullptr) == SANDFORGE_OK);
  CHECK(info_of(guest.get())->state == SANDFORGE_STATE_DESTROYED);
  other.join();
  CHECK(sandforge_sandbox_destroy(guest.get(), nullptr) == SANDFORGE_OK);
  const char* argv[] = {"true"};
  sandforge_exec_spec spec = SANDFORGE_EXEC_SPEC_INIT;
  spec.argv = argv;
  spec.argc = 1;
  sandforge_exec_result* result = nullptr;
  Failure failure;
  CHECK(sandforge_sandbox_exec(guest.get(), &spec, &result, failure.slot()) == SANDFORGE_DISCONNECTED);
  CHECK(failure.reason() == "destroyed");
}

TEST_CASE("destroying a sandbox ends its commands with verdict killed and its transfers with disconnected") {
  const Guest guest;
  const Process process = start(guest.get(), {.argv = {"sh", "-c", "echo up; sleep 30"}});
  char buffer[16];
  std::size_t count = 0;
  REQUIRE(sandforge_process_read(process.get(), SANDFORGE_STDOUT, buffer, sizeof buffer, 30'000, &count, nullptr) ==
          SANDFORGE_OK);
  sandforge_file* raw = nullptr;
  REQUIRE(sandforge_sandbox_open_write(guest.get(), "/tmp/never", 0, &raw, nullptr) == SANDFORGE_OK);
  const File file(raw);
  CHECK(sandforge_sandbox_destroy(guest.get(), nullptr) == SANDFORGE_OK);
  const Result result = wait_for(process.get());
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_KILLED);
  CHECK(result->exit_code == 137);
  CHECK(sandforge_file_finish(file.get(), nullptr) == SANDFORGE_DISCONNECTED);
}

TEST_CASE("a sandbox that is destroyed while it is being created answers its creator conflict") {
  Signal signal;
  const Sandbox sandbox = begin(small_spec("conf-early"), &signal);
  CHECK(sandforge_sandbox_destroy(sandbox.get(), nullptr) == SANDFORGE_OK);
  CHECK(signal.wait());
  Failure failure;
  CHECK(sandforge_sandbox_wait(sandbox.get(), 0, failure.slot()) != SANDFORGE_TIMED_OUT);
  CHECK(info_of(sandbox.get())->state == SANDFORGE_STATE_DESTROYED);
}

TEST_CASE("a create that was begun tells when it is ready, once") {
  Signal signal;
  const Sandbox sandbox = begin(small_spec(), &signal);
  REQUIRE(signal.wait());
  Failure failure;
  CHECK(sandforge_sandbox_wait(sandbox.get(), 0, failure.slot()) == SANDFORGE_OK);
  CHECK(out_of(run(sandbox.get(), {.argv = {"echo", "ready"}})) == "ready\n");
  CHECK(sandforge_sandbox_destroy(sandbox.get(), nullptr) == SANDFORGE_OK);
  CHECK(signal.count() == 1);
}

TEST_CASE("a sandbox whose life is over is destroyed with the reason expired") {
  sandforge_sandbox_spec spec = small_spec("conf-expire");
  spec.timeout_sec = 1;
  const Guest guest(spec);
  const Process process = start(guest.get(), {.argv = {"sleep", "30"}});
  CHECK(wait_for(process.get())->ended_by == SANDFORGE_ENDED_BY_KILLED);
  // The tombstone comes when nothing is left; destroy waits for exactly that.
  CHECK(sandforge_sandbox_destroy(guest.get(), nullptr) == SANDFORGE_OK);
  const Info info = info_of(open_sandbox("conf-expire").get());
  CHECK(info->state == SANDFORGE_STATE_DESTROYED);
  CHECK(std::string(info->failure_reason) == "expired");
}

TEST_CASE("a create that fails leaves a record that tells why and can be destroyed") {
  // The fake is told to fail by its id; a virtual machine needs an image that does not exist.
  sandforge_sandbox_spec spec = small_spec("fake-fail-launch-1");
  if (!is_fake()) spec.image = "no-such-image";
  sandforge_sandbox* none = nullptr;
  Failure failure;
  const sandforge_code code = sandforge_sandbox_create(engine(), &spec, &none, failure.slot());
  CHECK(code != SANDFORGE_OK);
  CHECK(none == nullptr);
  if (!is_fake()) {
    CHECK(code == SANDFORGE_NOT_FOUND);
    CHECK(failure.reason() == "image_missing");
    CHECK_FALSE(failure.remedy().empty());
  }
  const Sandbox record = open_sandbox("fake-fail-launch-1");
  const Info info = info_of(record.get());
  CHECK(info->state == SANDFORGE_STATE_ERROR);
  CHECK(std::string(info->failure) == failure.message());
  CHECK(std::string(info->failure_reason) == failure.reason());
  const char* argv[] = {"true"};
  sandforge_exec_spec exec = SANDFORGE_EXEC_SPEC_INIT;
  exec.argv = argv;
  exec.argc = 1;
  sandforge_exec_result* result = nullptr;
  CHECK(sandforge_sandbox_exec(record.get(), &exec, &result, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(failure.reason() == "not_ready");
  CHECK(sandforge_sandbox_create(engine(), &spec, &none, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(sandforge_sandbox_destroy(record.get(), nullptr) == SANDFORGE_OK);
  CHECK(info_of(record.get())->state == SANDFORGE_STATE_DESTROYED);
}

TEST_CASE("freeing a handle leaves the sandbox running") {
  const sandforge_sandbox_spec spec = small_spec("conf-handle");
  Sandbox sandbox = begin(spec);
  sandbox.reset();
  const Sandbox again = open_sandbox("conf-handle");
  CHECK(sandforge_sandbox_wait(again.get(), -1, nullptr) == SANDFORGE_OK);
  CHECK(sandforge_sandbox_destroy(again.get(), nullptr) == SANDFORGE_OK);
}

TEST_CASE("a sandbox whose guest dies becomes error, and its commands end with verdict vm_crash") {
  sandforge_sandbox_spec spec = small_spec("fake-die-on-exec-1");
  const Guest guest(spec);
  // The fake ends as told by its id; a virtual machine when its kernel is told to panic or restart.
  const Exec crash = is_fake()
                         ? Exec{.argv = {"true"}}
                         : Exec{.argv = {"sh", "-c", "echo c > /proc/sysrq-trigger; sleep 30"}, .timeout_ms = 10'000};
  const Result result = run(guest.get(), crash);
  if (!is_fake() && result->ended_by != SANDFORGE_ENDED_BY_VM_CRASH) {
    // A contained task may not crash its guest, which is the better outcome.
    CHECK(info_of(guest.get())->state == SANDFORGE_STATE_READY);
    return;
  }
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_VM_CRASH);
  CHECK(result->exit_code == 137);
  const Info info = info_of(guest.get());
  CHECK(info->state == SANDFORGE_STATE_ERROR);
  CHECK(std::string(info->failure_reason) == "vm_crash");
}
