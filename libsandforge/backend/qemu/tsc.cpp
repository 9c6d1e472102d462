// SPDX-License-Identifier: Apache-2.0
#include "backend/qemu/tsc.hpp"

#include <time.h>

#if defined(__x86_64__)
#include <x86intrin.h>
#endif

namespace sandforge::backend {
namespace {

constexpr std::uint64_t kShortestNs = 5'000'000;
// Of several pairs the one with the least time between its two reads counts: an interrupt in between spoils a pair.
constexpr int kPairs = 8;

std::uint64_t monotonic_ns() {
  timespec now{};
  ::clock_gettime(CLOCK_MONOTONIC, &now);
  return static_cast<std::uint64_t>(now.tv_sec) * 1'000'000'000 + static_cast<std::uint64_t>(now.tv_nsec);
}

std::uint64_t ticks_now() {
#if defined(__x86_64__)
  return __rdtsc();
#else
  return 0;
#endif
}

}  // namespace

TscMeter::Sample TscMeter::sample() {
  Sample best;
  std::uint64_t narrowest = ~std::uint64_t{0};
  for (int i = 0; i < kPairs; ++i) {
    const std::uint64_t before = ticks_now();
    const std::uint64_t time = monotonic_ns();
    const std::uint64_t after = ticks_now();
    if (after - before >= narrowest) continue;
    narrowest = after - before;
    best = {before + narrowest / 2, time};
  }
  return best;
}

TscMeter::TscMeter() : first_(sample()) {}

std::uint64_t TscMeter::khz() const {
  Sample now = sample();
  while (now.nanoseconds - first_.nanoseconds < kShortestNs) now = sample();
  const auto ticks = static_cast<double>(now.ticks - first_.ticks);
  return static_cast<std::uint64_t>(ticks * 1e6 / static_cast<double>(now.nanoseconds - first_.nanoseconds) + 0.5);
}

}  // namespace sandforge::backend
