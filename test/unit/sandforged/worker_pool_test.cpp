// SPDX-License-Identifier: Apache-2.0
#include "server/worker_pool.hpp"

#include <doctest/doctest.h>

#include <future>

using namespace sandforge::server;

TEST_CASE("a key with its share in use does not hold up other keys") {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> other_ran;
  std::promise<void> third_ran;
  WorkerPool pool(3, 16, 1);
  pool.submit("a", [&] { released.wait(); });
  pool.submit("a", [&] { third_ran.set_value(); });
  pool.submit("b", [&] { other_ran.set_value(); });
  other_ran.get_future().wait();
  auto third = third_ran.get_future();
  CHECK(third.wait_for(std::chrono::seconds(0)) == std::future_status::timeout);
  release.set_value();
  third.wait();
}

TEST_CASE("a full queue refuses, and the end waits for what runs") {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> started;
  WorkerPool pool(1, 1, 1);
  pool.submit({}, [&] {
    started.set_value();
    released.wait();
  });
  started.get_future().wait();
  CHECK(pool.submit({}, [] {}));
  CHECK_FALSE(pool.submit({}, [] {}));
  release.set_value();
}

TEST_CASE("jobs that block do not hold up further jobs until all threads are taken") {
  std::promise<void> release;
  const std::shared_future<void> released = release.get_future().share();
  std::promise<void> last_ran;
  WorkerPool pool(8, 16, 4);
  for (int i = 0; i < 7; ++i) {
    pool.submit(i < 4 ? "a" : "b", [&] { released.wait(); });
  }
  pool.submit("c", [&] { last_ran.set_value(); });
  last_ran.get_future().wait();
  release.set_value();
}
