// SPDX-License-Identifier: Apache-2.0
#include "vmm/violations/bench.hpp"

#include <dirent.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include "base/unique_fd.hpp"

#if defined(__SANITIZE_ADDRESS__)
#define SANDFORGE_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SANDFORGE_ASAN 1
#endif
#endif
#ifdef SANDFORGE_ASAN
#include <sanitizer/allocator_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif

namespace sandforge::vmm::test {
namespace {

constexpr int kTurnsMax = 4000;             // of the loop, until a device has nothing left to do
constexpr unsigned kRequestsMax = 2 * 256;  // that one kick may complete in a queue
constexpr double kSecondsMax = 10;          // of processor time, a row; all rows together have a minute
constexpr std::size_t kHeapMax = 12 << 20;  // that a device may hold for its guest
constexpr std::size_t kHeapSlack = 64 << 10;
constexpr int kDescriptorsMax = 64;

std::size_t heap_bytes() {
#ifdef SANDFORGE_ASAN
  return __sanitizer_get_current_allocated_bytes();
#else
  return ::mallinfo2().uordblks + ::mallinfo2().hblkhd;
#endif
}

int descriptors() {
  DIR* directory = ::opendir("/proc/self/fd");
  REQUIRE(directory != nullptr);
  int count = 0;
  while (::readdir(directory) != nullptr) ++count;
  ::closedir(directory);
  return count;
}

double processor_seconds() {
  timespec now{};
  ::clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + static_cast<double>(now.tv_nsec) * 1e-9;
}

// Standard error goes to a file meanwhile; the sanitizers' reports do not.
class StderrWatch {
 public:
  StderrWatch() : real_(::dup(STDERR_FILENO)), file_(::memfd_create("stderr", MFD_CLOEXEC)) {
    REQUIRE(real_);
    REQUIRE(::dup2(file_.get(), STDERR_FILENO) == STDERR_FILENO);
#ifdef SANDFORGE_ASAN
    // SAFETY: the interface takes a descriptor's number as a pointer.
    __sanitizer_set_report_fd(reinterpret_cast<void*>(static_cast<std::intptr_t>(real_.get())));
#endif
  }
  StderrWatch(const StderrWatch&) = delete;
  ~StderrWatch() {
    ::dup2(real_.get(), STDERR_FILENO);
#ifdef SANDFORGE_ASAN
    __sanitizer_set_report_fd(reinterpret_cast<void*>(static_cast<std::intptr_t>(STDERR_FILENO)));
#endif
  }
  off_t written() const { return ::lseek(file_.get(), 0, SEEK_END); }

 private:
  base::UniqueFd real_, file_;
};

void run_case(const Table::Case& one) {
  std::unique_ptr<Bench> bench = one.make();
  bench->build();
  bench->start();
  const std::size_t heap = heap_bytes();
  const int open = descriptors();
  one.run(*bench);
  bench->settle();
  CHECK(heap_bytes() < heap + kHeapMax);
  CHECK(descriptors() < open + kDescriptorsMax);
  bench->check_usable();
}

}  // namespace

void Bench::build() {
  transport = std::make_unique<MmioTransport>(
      driver.memory(), make(), [this] { ++interrupts; }, [this](std::uint32_t queue) { again_.push_back(queue); });
}

void Bench::write_wide(std::uint64_t offset, std::size_t width, unsigned fill) {
  const std::vector<std::byte> bytes(width, static_cast<std::byte>(fill));
  transport->write(offset, bytes);
}

std::string Bench::read_wide(std::uint64_t offset, std::size_t width) {
  std::string bytes(width, '\x55');
  transport->read(offset, std::as_writable_bytes(std::span(bytes)));
  return bytes;
}

void Bench::write_address(std::uint32_t low, std::uint64_t address) {
  write(low, static_cast<std::uint32_t>(address));
  write(low + 4, static_cast<std::uint32_t>(address >> 32));
}

std::vector<std::uint16_t> Bench::used_indices() const {
  std::vector<std::uint16_t> out;
  for (std::size_t queue = 0; queue < queues_; ++queue) out.push_back(driver.used_index(queue));
  return out;
}

void Bench::check_bounded(const std::vector<std::uint16_t>& before) const {
  for (std::size_t queue = 0; queue < queues_; ++queue) {
    const auto advanced = static_cast<std::uint16_t>(driver.used_index(queue) - before[queue]);
    CHECK(unsigned{advanced} <= kRequestsMax);
  }
}

void Bench::kick(std::uint32_t queue) {
  const auto before = used_indices();
  write(reg::kQueueNotify, queue);
  // A row may have laid the used ring elsewhere, or over what it writes itself: then the count means nothing.
  if (!broken()) check_bounded(before);
  settle();
}

bool Bench::turn() {
  std::vector<std::uint32_t> again = std::exchange(again_, {});
  std::sort(again.begin(), again.end());
  again.erase(std::unique(again.begin(), again.end()), again.end());  // an event descriptor counts, it does not queue
  for (const std::uint32_t queue : again) transport->kick(queue);
  return watcher.poll() > 0 || !again.empty();
}

void Bench::settle() {
  int turns = 0;
  while (turns < kTurnsMax && turn()) ++turns;
  CHECK(turns < kTurnsMax);
}

void Bench::check_usable() {
  write(reg::kStatus, 0);
  CHECK(read(reg::kStatus) == 0);
  CHECK(read(reg::kInterruptStatus) == 0);
  CHECK(watcher.size() == 0);
  start();
  use();
  CHECK_FALSE(broken());
}

int run_table(const Table& table) {
  const char* only = std::getenv("SANDFORGE_VIOLATION");
  const StderrWatch errors;
  int ran = 0;
  for (const Table::Case& one : table.cases) {
    const std::string name = table.name + ": " + one.name;
    if (only != nullptr && name.find(only) == std::string::npos) continue;
    if (only != nullptr) std::printf("%s\n", name.c_str()), std::fflush(stdout);
    INFO(name);
    const int open = descriptors();
    const std::size_t heap = heap_bytes();
    const double seconds = processor_seconds();
    try {
      run_case(one);
    } catch (const doctest::detail::TestFailureException&) {
      continue;  // a REQUIRE, counted as failed: on to the next row
    }
    CHECK(processor_seconds() - seconds < kSecondsMax);
    CHECK(descriptors() == open);
    CHECK(heap_bytes() <= heap + kHeapSlack);
    CHECK(errors.written() == 0);
    ++ran;
  }
  return ran;
}

}  // namespace sandforge::vmm::test
