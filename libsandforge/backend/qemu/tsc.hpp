// SPDX-License-Identifier: Apache-2.0
// How fast the host's time stamp counter ticks: an emulated guest reads that very counter.
#pragma once

#include <cstdint>

namespace sandforge::backend {

// Measures by two looks at counter and clock: the constructor's and khz()'s. The longer apart, the better: 5 ms give
// some 20 ppm, and what a host names itself (CPUID) is not needed.
class TscMeter {
 public:
  TscMeter();
  // Spins for what is missing of 5 ms since construction (an engine's first launch comes later than that). 0 when the
  // host has no TSC.
  std::uint64_t khz() const;

 private:
  struct Sample {
    std::uint64_t ticks = 0;
    std::uint64_t nanoseconds = 0;  // CLOCK_MONOTONIC, slewed as the host's clock is: the guest's follows
  };
  static Sample sample();

  Sample first_;
};

}  // namespace sandforge::backend
