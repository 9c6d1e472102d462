// SPDX-License-Identifier: Apache-2.0
// Violations of virtio-vsock: credit, storms of connections, and a host that does not do its part.
#include <sys/resource.h>

#include <algorithm>

#include "vmm/violations/second_vcpu.hpp"
#include "vmm/violations/vsock_bench.hpp"

namespace sandforge::vmm::test {
namespace {

using namespace vsock;
constexpr std::uint32_t kWindow = 256 * 1024;

void add_credit(VsockRows add) {
  add("data beyond the window ends the stream", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 60);
    const std::string block(65536, 'c');
    bool ended = false;
    for (int i = 0; i < 40 && !ended; ++i) {
      bench.send_data(block);
      for (const Packet& packet : bench.receive()) ended = ended || packet.operation == kReset;
    }
    CHECK(ended);
    CHECK_FALSE(bench.broken());
  });
  add("16 stalled readers cost their windows and no more", [](VsockBench& bench) {
    std::vector<base::UniqueFd> hosts;
    for (std::uint32_t port = 0; port < 16; ++port) hosts.push_back(bench.open(100 + port, 2));
    const std::string block(32768, 'c');
    for (int round = 0; round < 7; ++round) {
      for (std::uint32_t port = 0; port < 16; ++port) bench.send_data(block, 100 + port);
    }
    CHECK_FALSE(bench.turn());  // waits for the hosts, and does not spin meanwhile
    for (const auto& host : hosts) {
      std::size_t got = 0;
      for (std::string part; part = VsockBench::read_all(host), !part.empty(); bench.settle()) got += part.size();
      CHECK(got == 7 * block.size());
    }
  });
  for (const std::uint32_t room : {0u, 1u, 100u}) {
    add("a guest with room for " + std::to_string(room) + " bytes gets no more", [room](VsockBench& bench) {
      const base::UniqueFd host = bench.connect();
      bench.buffers(30);
      Packet request = make(kRequest);
      request.buffer_bytes = room;
      bench.send(request);
      CHECK(bench.answer() == kResponse);
      const std::string flood(5000, 'f');
      REQUIRE(::send(host.get(), flood.data(), flood.size(), MSG_NOSIGNAL) == 5000);
      bench.settle();
      (void)bench.receive();
      CHECK(bench.payload.size() == room);
      CHECK_FALSE(bench.turn());
    });
  }
  struct Claim {
    const char* name;
    std::uint32_t buffer, forwarded;
    std::size_t gets;
  };
  // After 1000 bytes were sent to it, the guest says this of its buffer; then the host sends 1000 more.
  const Claim claims[] = {{"took all and has room", kWindow, 1000, 1000},
                          {"shrank its buffer below what is under way", 500, 0, 0},
                          {"shrank its buffer to nothing", 0, 1000, 0},
                          {"took more than it got", kWindow, 2000, 0},
                          {"took 2^32 - 1 bytes", kWindow, 0xffffffff, 1000},
                          {"took 2^31 bytes", kWindow, 1u << 31, 0},
                          {"has room for 2^32 - 1", 0xffffffff, 0, 1000},
                          {"has room for 2^32 - 1 and took more than it got", 0xffffffff, 1001, 0}};
  for (const Claim& claim : claims) {
    add(std::string("a guest that says it ") + claim.name + " gets what that makes", [claim](VsockBench& bench) {
      const base::UniqueFd host = bench.open(77, 40);
      const std::string part(1000, 'p');
      REQUIRE(::send(host.get(), part.data(), part.size(), MSG_NOSIGNAL) == 1000);
      bench.settle();
      (void)bench.receive();
      REQUIRE(bench.payload.size() == 1000);
      Packet update = make(kCreditUpdate);
      update.buffer_bytes = claim.buffer;
      update.forwarded = claim.forwarded;
      bench.send(update);
      REQUIRE(::send(host.get(), part.data(), part.size(), MSG_NOSIGNAL) == 1000);
      bench.settle();
      (void)bench.receive();
      CHECK(bench.payload.size() == claim.gets);
      CHECK_FALSE(bench.turn());
    });
  }
  add("a count of taken bytes that goes back takes credit away", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 40);
    const std::string part(1000, 'p');
    for (const std::uint32_t forwarded : {1000u, 500u, 0u, 900u}) {
      (void)::send(host.get(), part.data(), part.size(), MSG_NOSIGNAL);
      bench.settle();
      (void)bench.receive();
      Packet update = make(kCreditUpdate);
      update.forwarded = forwarded;
      update.buffer_bytes = 1200;
      bench.send(update);
    }
    CHECK_FALSE(bench.broken());
  });
  add("ten thousand questions for credit get ten thousand answers and no memory", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 40);
    for (int i = 0; i < 10'000; ++i) {
      if (i % 16 == 0) bench.buffers(16);
      bench.send(make(kCreditRequest));
      CHECK(bench.answer() == kCreditUpdate);
      (void)bench.driver.used(kFromGuest);
    }
  });
}

void add_storms(VsockRows add) {
  add("100,000 connections to a host that is not there cost nothing", [](VsockBench& bench) {
    for (std::uint32_t i = 0; i < 100'000; i += 25) {
      bench.buffers(25);
      for (std::uint32_t n = 0; n < 25; ++n) bench.put(make(kRequest, 5000 + i + n));
      bench.kick(kFromGuest);
      REQUIRE(bench.driver.used(kFromGuest).size() == 25);
      for (const Packet& packet : bench.receive()) REQUIRE(int{packet.operation} == kReset);
    }
    CHECK_FALSE(bench.broken());
  });
  add("2,000 connections, opened and reset, leave nothing", [](VsockBench& bench) {
    for (std::uint32_t i = 0; i < 2000; ++i) {
      const base::UniqueFd host = bench.open(5000 + i, 1);
      bench.send(make(kReset, 5000 + i));
      REQUIRE(VsockBench::at_end(host));
    }
  });
  add("100,000 resets of no stream are not answered", [](VsockBench& bench) {
    bench.buffers(4);
    for (int i = 0; i < 2000; ++i) {
      for (int n = 0; n < 50; ++n) bench.put(make(kReset, static_cast<std::uint32_t>(n)));
      bench.kick(kFromGuest);
    }
    CHECK(bench.receive().empty());
  });
  add("a connection over an open one ends the old", [](VsockBench& bench) {
    const base::UniqueFd first = bench.open();
    const base::UniqueFd second = bench.open();
    CHECK(VsockBench::at_end(first));
    bench.send_data("second");
    CHECK(VsockBench::read_all(second) == "second");
  });
  add("a connection over one that waits is one connection", [](VsockBench& bench) {
    bench.buffers(10);
    for (int i = 0; i < 50; ++i) bench.send(make(kRequest));
    const base::UniqueFd first = bench.connect(), second = bench.connect();
    bench.settle();
    CHECK(bench.answer() == kResponse);
    bench.send_data("x");
    CHECK(VsockBench::read_all(first) == "x");
  });
  add("a port is used again at once", [](VsockBench& bench) {
    for (int i = 0; i < 100; ++i) {
      const base::UniqueFd host = bench.open(77, 2);
      Packet end = make(kShutdown);
      end.flags = 3;
      bench.send(end);
      CHECK(bench.answer() == kReset);
    }
  });
  add("streams beyond the cap are refused and the others live on", [](VsockBench& bench) {
    std::vector<base::UniqueFd> hosts;
    for (std::uint32_t port = 0; port < 16; ++port) hosts.push_back(bench.open(100 + port, 2));
    bench.buffers(4);
    bench.send(make(kRequest, 999));
    CHECK(bench.answer() == kReset);
    for (std::uint32_t port = 0; port < 16; ++port) {
      bench.send_data("alive", 100 + port);
      CHECK(VsockBench::read_all(hosts[port]) == "alive");
    }
  });
  add("a stream that floods does not keep another from being served", [](VsockBench& bench) {
    const base::UniqueFd busy = bench.open(100, 10), quiet = bench.open(200, 10);
    (void)bench.receive();
    const std::string flood(100'000, 'f');
    REQUIRE(::send(busy.get(), flood.data(), flood.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
    REQUIRE(::send(quiet.get(), "q", 1, MSG_NOSIGNAL) == 1);
    // Buffers of one byte of payload: the flood alone takes thousands.
    bool heard = false;
    for (int round = 0; round < 200 && !heard; ++round) {
      for (int i = 0; i < 40; ++i) bench.driver.offer(kToGuest, {}, 45);
      bench.write(reg::kQueueNotify, kToGuest);
      bench.turn();
      for (const Packet& packet : bench.receive()) heard = heard || packet.target_port == 200;
    }
    CHECK(heard);
  });
}

void add_hosts(VsockRows add) {
  add("a host that hangs up mid-transfer ends the stream with what it said", [](VsockBench& bench) {
    base::UniqueFd host = bench.open(77, 40);
    REQUIRE(::send(host.get(), "last words", 10, MSG_NOSIGNAL) == 10);
    host.reset();
    bench.settle();
    const auto packets = bench.receive();
    REQUIRE(packets.size() == 2);
    CHECK(bench.payload == "last words");
    CHECK(int{packets[1].operation} == kShutdown);
    CHECK(bench.watcher.size() == 0);
  });
  add("a host that hangs up while bytes for it are kept ends the stream", [](VsockBench& bench) {
    base::UniqueFd host = bench.open(77, 40);
    for (int i = 0; i < 7; ++i) bench.send_data(std::string(32768, 'k'));
    CHECK_FALSE(bench.turn());
    host.reset();
    bench.settle();
    CHECK(bench.watcher.size() == 0);
    bench.send_data("more");
    CHECK_FALSE(bench.broken());
  });
  add("a host that hangs up before the guest asks gives an end, not a stream", [](VsockBench& bench) {
    bench.buffers(10);
    bench.connect().reset();
    bench.send(make(kRequest));
    bench.settle();
    CHECK(bench.receive().size() == 2);  // a response, then a shutdown
    CHECK(bench.watcher.size() == 0);
  });
  add("a host that hangs up while the guest has no credit spins nothing", [](VsockBench& bench) {
    base::UniqueFd host = bench.connect();
    bench.buffers(10);
    Packet request = make(kRequest);
    request.buffer_bytes = 0;
    bench.send(request);
    CHECK(bench.answer() == kResponse);
    host.reset();
    CHECK_FALSE(bench.turn());
    bench.send_data("x");
    bench.settle();
    CHECK_FALSE(bench.turn());
  });
  add("a host that stops sending while it reads ends the stream", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 40);
    REQUIRE(::shutdown(host.get(), SHUT_WR) == 0);
    bench.settle();
    CHECK(bench.answer() == kShutdown);
    CHECK_FALSE(bench.turn());
  });
  add("a host that stops reading is a reset at the next byte", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 40);
    REQUIRE(::shutdown(host.get(), SHUT_RD) == 0);
    bench.send_data("x");
    bench.settle();
    CHECK_FALSE(bench.broken());
    CHECK_FALSE(bench.turn());
  });
  add("connections of the host that no stream asked for stay in the listener", [](VsockBench& bench) {
    std::vector<base::UniqueFd> hosts;
    for (int i = 0; i < 60; ++i) hosts.push_back(bench.connect());
    CHECK_FALSE(bench.turn());
  });
  add("no descriptor for a connection: the stream is reset and nothing spins", [](VsockBench& bench) {
    bench.buffers(10);
    bench.send(make(kRequest));
    const base::UniqueFd host = bench.connect();
    rlimit before{};
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &before) == 0);
    const rlimit none{0, before.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &none) == 0);
    int turns = 0;
    // poll() takes no more descriptors than the limit; the device is told by hand.
    while (turns < 100 && bench.watcher.tell_all() > 0) ++turns;
    ::setrlimit(RLIMIT_NOFILE, &before);
    CHECK(turns < 100);
    CHECK(bench.answer() == kReset);
  });
  add("a reset with bytes in flight both ways closes all", [](VsockBench& bench) {
    std::vector<base::UniqueFd> hosts;
    for (std::uint32_t port = 0; port < 16; ++port) hosts.push_back(bench.open(100 + port, 2));
    for (std::uint32_t port = 0; port < 16; ++port) {
      for (int i = 0; i < 7; ++i) bench.send_data(std::string(32768, 'k'), 100 + port);
      (void)::send(hosts[port].get(), "in flight", 9, MSG_NOSIGNAL);
    }
    bench.write(reg::kStatus, 0);
    CHECK(bench.watcher.size() == 0);
    for (const auto& host : hosts) {
      (void)VsockBench::read_all(host);
      CHECK(VsockBench::at_end(host));
    }
  });
  add("a failure with bytes in flight both ways closes all", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 4);
    (void)::send(host.get(), "in flight", 9, MSG_NOSIGNAL);
    bench.driver.set_available(kFromGuest, 0x7777);
    bench.kick(kFromGuest);
    CHECK(bench.broken());
    CHECK(bench.watcher.size() == 0);
    CHECK(VsockBench::at_end(host));
  });
  add("rings that go bad while the host sends fail the device from its event", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open(77, 1);
    bench.driver.set_available(kToGuest, 0x7777);
    (void)::send(host.get(), "x", 1, MSG_NOSIGNAL);
    // Out of buffers the device waits for a kick: this one finds the ring broken.
    bench.kick(kToGuest);
    CHECK(bench.broken());
    CHECK(bench.watcher.size() == 0);
    bench.settle();
  });
}

void add_second_vcpu(VsockRows add) {
  const auto header_changes = [&](const char* name, std::function<Packet(std::uint64_t)> at, std::size_t content) {
    add(name, [=](VsockBench& bench) {
      const base::UniqueFd host = bench.open(77, 40);
      const std::uint64_t address = FakeDriver::kBuffers + 0x40000;
      bench.driver.put(GuestAddress{address}, at(0));
      std::uint64_t count = 0;
      std::uint64_t touches = 0;
      {
        const SecondVcpu other(bench.driver.memory(), GuestAddress{address}, 4096, [&] {
          const Packet next = at(++count);
          std::memcpy(bench.driver.host() + address, &next, sizeof next);
        });
        const auto length = static_cast<std::uint32_t>(sizeof(Packet) + content);
        bench.driver.describe_raw(kFromGuest, 0, {address, length, 0, 0});
        for (int i = 0; i < 20; ++i) bench.driver.publish(kFromGuest, 0);
        bench.kick(kFromGuest);
        touches = other.touches();
      }
      CHECK(touches >= 20);
      CHECK(touches <= 20 * 12);  // a copy of 44 bytes each
      CHECK_FALSE(bench.broken());
    });
  };
  header_changes(
      "a length that grows between looks harms nobody",
      [](std::uint64_t n) {
        Packet packet = make(kCreditUpdate);
        packet.length = n % 2 == 0 ? 0 : 0x00010000;
        return packet;
      },
      0x10000);
  header_changes(
      "a port that changes between looks harms nobody",
      [](std::uint64_t n) { return make(kCreditUpdate, static_cast<std::uint32_t>(77 + n % 3)); }, 0);
  header_changes(
      "an operation that changes between looks harms nobody",
      [](std::uint64_t n) { return make(static_cast<std::uint16_t>(n % 9)); }, 0);
}

}  // namespace

void add_vsock_streams(VsockRows add) {
  add_credit(add);
  add_storms(add);
  add_hosts(add);
  add_second_vcpu(add);
}

}  // namespace sandforge::vmm::test
