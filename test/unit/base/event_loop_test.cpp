// SPDX-License-Identifier: Apache-2.0
#include "base/event_loop.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include "base/unique_fd.hpp"

using namespace sandforge::base;
using std::chrono::milliseconds;

namespace {
struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    read.reset(ends[0]), write.reset(ends[1]);
  }
  UniqueFd read, write;
};
}  // namespace

TEST_CASE("posted tasks run in order on the loop's thread, from whatever thread they came") {
  EventLoop loop;
  std::vector<int> order;
  CHECK_FALSE(loop.in_loop_thread());
  loop.post([&] {
    CHECK(loop.in_loop_thread());
    order.push_back(1);
    loop.post([&] { order.push_back(3), loop.stop(); });
    order.push_back(2);
  });
  std::thread([&] { loop.run(); }).join();
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("what a callback defers runs right after it, before what was posted earlier") {
  EventLoop loop;
  std::vector<int> order;
  loop.post([&] {
    loop.post([&] { order.push_back(3), loop.stop(); });
    loop.defer([&] {
      loop.defer([&] { order.push_back(2); });
      order.push_back(1);
    });
  });
  loop.run();
  CHECK(order == std::vector<int>{1, 2, 3});
}

TEST_CASE("a caller takes a turn of a loop that sleeps, and of no other") {
  EventLoop loop;
  const auto yes = [] { return true; };
  int ran = 0;
  CHECK(loop.run_if_idle(yes, [&] {
    CHECK(loop.in_loop_thread());
    CHECK_FALSE(loop.run_if_idle(yes, [&] { ran = 100; }));
    loop.defer([&] { ++ran; });
  }));
  CHECK(ran == 1);
  CHECK_FALSE(loop.in_loop_thread());
  CHECK_FALSE(loop.run_if_idle([] { return false; }, [&] { ran = 100; }));
  loop.post([&] {
    CHECK_FALSE(loop.run_if_idle(yes, [&] { ran = 100; }));
    loop.stop();
  });
  CHECK_FALSE(loop.run_if_idle(yes, [&] { ran = 100; }));  // what was posted comes first
  loop.run();
  CHECK(loop.run_if_idle(yes, [&] { ++ran; }));
  CHECK(ran == 2);
}

TEST_CASE("turns of callers and of the loop never overlap, and keep each caller's order") {
  EventLoop loop;
  std::thread runner([&] { loop.run(); });
  constexpr int kThreads = 4, kTurns = 2000;
  int count = 0;  // unsynchronised: the turns are
  std::vector<int> last(kThreads, -1), broken(kThreads, 0);
  std::vector<std::thread> callers;
  for (int caller = 0; caller < kThreads; ++caller) {
    callers.emplace_back([&, caller] {
      for (int i = 0; i < kTurns; ++i) {
        const EventLoop::Task turn = [&, caller, i] {
          ++count;
          broken[static_cast<std::size_t>(caller)] += last[static_cast<std::size_t>(caller)] == i - 1 ? 0 : 1;
          last[static_cast<std::size_t>(caller)] = i;
        };
        if (i % 3 == 0 || !loop.run_if_idle([] { return true; }, turn)) loop.post(turn);
      }
    });
  }
  for (std::thread& caller : callers) caller.join();
  loop.post([&] { loop.stop(); });
  runner.join();
  CHECK(count == kThreads * kTurns);
  CHECK(broken == std::vector<int>(kThreads, 0));
}

TEST_CASE("a stop before run makes run return at once, and the loop can run again") {
  EventLoop loop;
  loop.stop();
  loop.run();
  bool ran = false;
  loop.post([&] { ran = true, loop.stop(); });
  loop.run();
  CHECK(ran);
}

TEST_CASE("timers run once and in the order of their times; a reset one never runs") {
  EventLoop loop;
  std::vector<int> order;
  const auto late = loop.after(milliseconds(20), [&] { order.push_back(2), loop.stop(); });
  const auto early = loop.after(milliseconds(1), [&] { order.push_back(1); });
  auto never = loop.after(milliseconds(5), [&] { order.push_back(9); });
  never.reset();
  loop.run();
  CHECK(order == std::vector<int>{1, 2});
}

TEST_CASE("a timer may replace itself from its own callback") {
  EventLoop loop;
  int count = 0;
  Subscription timer;
  std::function<void()> tick = [&] {
    if (++count == 3) return loop.stop();
    timer = loop.after(milliseconds(0), tick);
  };
  timer = loop.after(milliseconds(0), tick);
  loop.run();
  CHECK(count == 3);
}

TEST_CASE("a readable watch fires again while bytes are left and not after its reset") {
  EventLoop loop;
  Pipe pipe;
  REQUIRE(::write(pipe.write.get(), "abc", 3) == 3);
  std::string got;
  Subscription watch;
  watch = loop.on_readable(pipe.read.get(), [&] {
    char byte = 0;
    if (::read(pipe.read.get(), &byte, 1) == 1) got += byte;
    if (got == "ab") watch.reset();
  });
  const auto end = loop.after(milliseconds(30), [&] { loop.stop(); });
  loop.run();
  CHECK(got == "ab");
}

TEST_CASE("a watch tells the end of the other side") {
  EventLoop loop;
  Pipe pipe;
  pipe.write.reset();
  ssize_t count = -1;
  const auto watch = loop.on_readable(pipe.read.get(), [&] {
    char byte = 0;
    count = ::read(pipe.read.get(), &byte, 1);
    loop.stop();
  });
  loop.run();
  CHECK(count == 0);
}

TEST_CASE("readable and writable watches of one descriptor end independently") {
  EventLoop loop;
  Pipe pipe;
  int writable = 0;
  Subscription watch;
  watch = loop.on_writable(pipe.write.get(), [&] {
    if (++writable == 2) watch.reset();
    REQUIRE(::write(pipe.write.get(), "x", 1) == 1);
  });
  const auto reader = loop.on_readable(pipe.read.get(), [&] {
    char bytes[8];
    (void)!::read(pipe.read.get(), bytes, sizeof bytes);
    if (writable == 2) loop.stop();
  });
  loop.run();
  CHECK(writable == 2);
}

TEST_CASE("a callback may destroy the watch of another descriptor that is ready too") {
  EventLoop loop;
  Pipe one, two;
  REQUIRE(::write(one.write.get(), "x", 1) == 1);
  REQUIRE(::write(two.write.get(), "x", 1) == 1);
  int calls = 0;
  Subscription first, second;
  first = loop.on_readable(one.read.get(), [&] { ++calls, first.reset(), second.reset(); });
  second = loop.on_readable(two.read.get(), [&] { ++calls, first.reset(), second.reset(); });
  const auto end = loop.after(milliseconds(20), [&] { loop.stop(); });
  loop.run();
  CHECK(calls == 1);
}

TEST_CASE("what was posted and never run is destroyed with the loop") {
  const auto witness = std::make_shared<int>(0);
  {
    EventLoop loop;
    loop.post([witness] {});
    CHECK(witness.use_count() == 2);
  }
  CHECK(witness.use_count() == 1);
}

TEST_CASE("many threads may post at once") {
  EventLoop loop;
  int count = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&] {
      for (int i = 0; i < 250; ++i) loop.post([&] { ++count == 1000 ? loop.stop() : void(); });
    });
  }
  loop.run();
  for (auto& thread : threads) thread.join();
  CHECK(count == 1000);
}
