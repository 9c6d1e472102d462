// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/log_sink.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "base/unique_fd.hpp"

using namespace sandforge;

namespace {

struct Pipe {
  Pipe() {
    int ends[2];
    REQUIRE(::pipe2(ends, O_CLOEXEC | O_NONBLOCK) == 0);
    read_end.reset(ends[0]), write_end.reset(ends[1]);
  }
  std::string drain() const {
    std::string out;
    std::array<char, 4096> buffer;
    for (ssize_t n = 0; (n = ::read(read_end.get(), buffer.data(), buffer.size())) > 0;) {
      out.append(buffer.data(), static_cast<std::size_t>(n));
    }
    return out;
  }
  base::UniqueFd read_end, write_end;
};

}  // namespace

TEST_CASE("a guest's log ends at its cap, says so once, and the monitor's own lines still come through") {
  const Pipe pipe;
  vmm::LogSink sink(pipe.write_end.get(), 10);
  for (int i = 0; i < 1000; ++i) sink.put('x');
  sink.line("still here");
  const std::string out = pipe.drain();
  CHECK(out.starts_with("xxxxxxxxxxsandforge-vmm: the guest's log reached its cap"));
  CHECK(out.ends_with("sandforge-vmm: still here\n"));
  CHECK(out.size() < 200);
}

TEST_CASE("a log that nobody reads loses what does not fit, and waits for nobody") {
  const Pipe pipe;
  vmm::LogSink sink(pipe.write_end.get(), 1 << 20);
  for (int i = 0; i < 1 << 20; ++i) sink.put(i % 64 == 63 ? '\n' : 'x');
  CHECK(pipe.drain().size() <= 64 * 1024);
}
