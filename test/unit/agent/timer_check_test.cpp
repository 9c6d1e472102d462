// SPDX-License-Identifier: Apache-2.0
#include "agent/init/timer_check.hpp"

#include <doctest/doctest.h>

#include <string>

#include "wire/boot_words.hpp"

using sandforge::agent::check_timer;
using sandforge::agent::timer_khz;

namespace {

// As a guest of two CPUs tells it, cut to what matters.
std::string timer_list(const std::string& mult) {
  return "Timer List Version: v0.9\nHRTIMER_MAX_CLOCK_BASES: 8\nnow at 2400000000 nsecs\n\ncpu: 0\n clock 0:\n"
         "  .resolution: 1 nsecs\n\nTick Device: mode:     1\nBroadcast device\nClock Event Device: <NULL>\n"
         "tick_broadcast_mask: 0\n\nTick Device: mode:     1\nPer CPU device: 0\nClock Event Device: lapic\n"
         " max_delta_ns:   34360013299\n min_delta_ns:   1000\n mult:           " +
         mult +
         "\n shift:          32\n mode:           3\n\nTick Device: mode:     1\nPer CPU device: 1\n"
         "Clock Event Device: lapic\n mult:           7\n shift:          32\n";
}

}  // namespace

TEST_CASE("the first CPU's timer is read from the kernel's list") {
  CHECK(timer_khz(timer_list("268435456")) == 62'500);
  CHECK(timer_khz("") == 0);
  CHECK(timer_khz("Per CPU device: 0\n mult:") == 0);
  CHECK(timer_khz("Per CPU device: 0\n mult: 5\n shift: 77\n") == 0);
}

TEST_CASE("a timer that was measured about rightly passes, one that is far off or none at all does not") {
  CHECK(check_timer(timer_list("268433308"), 62'500));
  CHECK(check_timer(timer_list("361263000"), 62'500));  // a third too fast, seen on a busy host
  const std::string bad[] = {"1", "0", "40000000", "700000000", "4294967295", "99999999999999"};
  for (const std::string& mult : bad) {
    const auto checked = check_timer(timer_list(mult), 62'500);
    REQUIRE_FALSE(checked);
    CHECK(checked.error().code == sandforge::base::Code::GuestFault);
    CHECK(checked.error().message.find(sandforge::wire::kBadTimer) == 0);
  }
}
