// SPDX-License-Identifier: Apache-2.0
#include "agent/init/timer_check.hpp"

#include <algorithm>
#include <charconv>
#include <string>

#include "wire/boot_words.hpp"

namespace sandforge::agent {
namespace {

// Twice as fast: waits take twice as long. A fourth of it: four interrupts for one, which a guest survives.
constexpr std::uint64_t kFasterMax = 2, kSlowerMax = 4;

// The number behind `key` and blanks, wherever it stands first.
std::uint64_t number_after(std::string_view text, std::string_view key) noexcept {
  const std::size_t at = text.find(key);
  if (at == std::string_view::npos) return 0;
  text.remove_prefix(at + key.size());
  text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));
  std::uint64_t value = 0;
  std::from_chars(text.data(), text.data() + text.size(), value);
  return value;
}

}  // namespace

// SPEC: kernel/time/timer_list.c. One block a CPU that begins with "Per CPU device: N"; in it "mult" and "shift", where
// mult = ticks a nanosecond, times two to the power of shift.
std::uint64_t timer_khz(std::string_view timer_list) noexcept {
  const std::size_t block = timer_list.find("Per CPU device: 0\n");
  if (block == std::string_view::npos) return 0;
  timer_list.remove_prefix(block);
  const std::uint64_t mult = number_after(timer_list, "mult:"), shift = number_after(timer_list, "shift:");
  if (shift > 32 || mult > UINT32_MAX) return 0;
  return mult * 1'000'000 >> shift;
}

base::Status check_timer(std::string_view timer_list, std::uint64_t expected_khz) {
  const std::uint64_t khz = timer_khz(timer_list);
  if (khz <= expected_khz * kFasterMax && khz >= expected_khz / kSlowerMax) return {};
  return base::make_error(
      base::Code::GuestFault, "bad_timer",
      std::string(wire::kBadTimer) + ": " + std::to_string(khz) + " kHz instead of " + std::to_string(expected_khz));
}

}  // namespace sandforge::agent
