// SPDX-License-Identifier: Apache-2.0
#include "engine/process.hpp"

#include <chrono>
#include <condition_variable>
#include <mutex>

#include "engine/channel_buffer.hpp"
#include "engine/engine_fixture.hpp"

using namespace sandforge::engine;
using namespace sandforge::engine::test;
namespace limits = sandforge::limits;

TEST_CASE("a channel buffer gives back what it was given, in order, and counts its room") {
  ChannelBuffer buffer;
  CHECK(buffer.space() == limits::kStreamWindow);
  std::string expected, taken;
  for (int i = 0; i < 1000; ++i) {
    const std::string piece(1 + static_cast<std::size_t>(i) % 300, static_cast<char>(i));
    buffer.append(piece);
    expected += piece;
    char out[200];
    taken.append(out, buffer.take(out, static_cast<std::size_t>(i) % sizeof out));
  }
  CHECK(buffer.space() == limits::kStreamWindow - buffer.size());
  taken += buffer.view();
  CHECK((taken == expected));
  buffer.drop(buffer.size());
  CHECK(buffer.empty());
}

TEST_CASE("credit is given back in lumps of half a window and never lost") {
  CreditDebt debt;
  std::size_t given = 0;
  for (int i = 0; i < 10'000; ++i) given += debt.add(100);
  CHECK(given <= 1'000'000);
  CHECK(given > 1'000'000 - limits::kStreamWindow / 2);
}

namespace {

// A notifier's calls, countable from another thread.
class Calls {
 public:
  static void count(void* calls) { static_cast<Calls*>(calls)->add(); }
  // The callback may come a moment after the read that it announces; then there are `wanted` and not more.
  bool become(int wanted) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10), [&] { return calls_ >= wanted; }) && calls_ == wanted;
  }

 private:
  void add() {
    const std::lock_guard lock(mutex_);
    ++calls_;
    changed_.notify_all();
  }
  std::mutex mutex_;
  std::condition_variable changed_;
  int calls_ = 0;
};

}  // namespace

TEST_CASE("a process calls its notifier once until told that there is nothing, and never after release") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "notify");
  REQUIRE(sandbox->wait_created(-1));
  ExecSpec spec;
  spec.argv = {"cat"};
  spec.stream_stdin = true;
  auto resolved = resolve_exec(spec);
  REQUIRE(resolved);
  Calls calls;
  const auto process = std::make_shared<Process>(sandbox, resolved.value(), &Calls::count, &calls);
  REQUIRE(process->begin());
  const auto round_trip = [&](const char* text) {
    REQUIRE(process->write(text, -1));
    char buffer[16];
    auto count = process->read(1, buffer, sizeof buffer, 10'000);
    REQUIRE(count);
    REQUIRE(count->has_value());
    return std::string(buffer, **count);
  };
  CHECK(round_trip("one") == "one");
  CHECK(calls.become(1));
  CHECK(round_trip("two") == "two");  // nobody was told "nothing now" in between
  CHECK(calls.become(1));
  char buffer[16];
  CHECK_FALSE(process->read(1, buffer, sizeof buffer, 0)->has_value());
  CHECK(round_trip("three") == "three");
  CHECK(calls.become(2));
  CHECK_FALSE(process->read(1, buffer, sizeof buffer, 0)->has_value());
  process->release();
  CHECK(sandbox->destroy());
  CHECK(calls.become(2));
}

TEST_CASE("input beyond the window waits for the command to read, and all of it arrives") {
  const TempState temp;
  auto engine = Engine::create(temp.options());
  REQUIRE(engine);
  const auto sandbox = create(*engine.value(), "input");
  REQUIRE(sandbox->wait_created(-1));
  ExecSpec spec;
  spec.argv = {"wc", "-c"};
  spec.stream_stdin = true;
  auto resolved = resolve_exec(spec);
  REQUIRE(resolved);
  const auto process = std::make_shared<Process>(sandbox, resolved.value(), nullptr, nullptr);
  REQUIRE(process->begin());
  const std::string bytes(3'000'000, 'x');
  std::string_view rest = bytes;
  while (!rest.empty()) {
    auto count = process->write(rest, 10'000);
    REQUIRE(count);
    REQUIRE(count->has_value());
    rest.remove_prefix(**count);
  }
  REQUIRE(process->close_stdin());
  CHECK(process->write("x", 0).error().reason == "stdin_closed");
  auto verdict = process->wait(10'000);
  REQUIRE(verdict);
  REQUIRE(verdict->has_value());
  char buffer[64];
  auto count = process->read(1, buffer, sizeof buffer, 0);
  REQUIRE(count);
  CHECK(std::string(buffer, **count).find("3000000") != std::string::npos);
}
