// SPDX-License-Identifier: Apache-2.0
// Violations of virtio-vsock: packets and the buffers for them.
#include "vmm/violations/vsock_bench.hpp"

namespace sandforge::vmm::test {
namespace {

using namespace vsock;

void add_addresses(VsockRows add) {
  // Packets that are for nobody: answered by a reset, unless they are forged.
  for (const std::uint64_t cid :
       std::initializer_list<std::uint64_t>{0, 1, 2, 4, 0xffffffff, 0x100000003, UINT64_MAX}) {
    Packet forged = make(kRequest);
    forged.source_cid = cid;
    add.packet("a packet forged in the name of CID " + std::to_string(cid) + " is not answered", forged, 0, true);
  }
  for (const std::uint64_t cid :
       std::initializer_list<std::uint64_t>{0, 1, 3, 4, 0xffffffff, 0x100000002, UINT64_MAX}) {
    Packet elsewhere = make(kRequest);
    elsewhere.target_cid = cid;
    add.packet("a packet to CID " + std::to_string(cid) + " is reset and harms no stream", elsewhere, kReset, true);
  }
  for (const std::uint32_t port : {0u, 1u, 22u, 1023u, 1025u, 0x80000000u, 0xffffffffu}) {
    Packet elsewhere = make(kRequest);
    elsewhere.target_port = port;
    add.stray("a connection to port " + std::to_string(port) + " is refused", elsewhere, kReset);
    elsewhere.operation = kReset;
    add.stray("a reset to port " + std::to_string(port) + " is not answered", elsewhere, 0);
  }
  for (const std::uint16_t type : std::initializer_list<std::uint16_t>{0, 2, 3, 255, 0x100, 0xffff}) {
    Packet unknown = make(kRequest, 99);
    unknown.type = type;
    add("a packet of type " + std::to_string(type) + " is reset in its own type", [unknown](VsockBench& bench) {
      const base::UniqueFd host = bench.open();
      bench.send(unknown);
      const auto answers = bench.receive();
      REQUIRE(answers.size() == 1);
      CHECK(int{answers[0].operation} == kReset);
      CHECK(int{answers[0].type} == unknown.type);
      CHECK_FALSE(VsockBench::at_end(host));
    });
  }
}

void add_operations(VsockRows add) {
  for (const std::uint16_t operation : std::initializer_list<std::uint16_t>{0, 8, 9, 99, 255, 0x100, 0x8005, 0xffff}) {
    add.stray("operation " + std::to_string(operation) + " without a stream is reset", make(operation), kReset);
    add.packet("operation " + std::to_string(operation) + " on a stream ends it", make(operation), kReset, false);
  }
  add.stray("data before a connection is reset", make(kData), kReset);
  add.stray("a response before a connection is reset", make(kResponse), kReset);
  add.stray("a shutdown before a connection is reset", make(kShutdown), kReset);
  add.stray("credit before a connection is reset", make(kCreditUpdate), kReset);
  add.stray("a question for credit before a connection is reset", make(kCreditRequest), kReset);
  add.stray("a reset before a connection is not answered", make(kReset), 0);
  add.packet("a response on an open stream ends it", make(kResponse), kReset, false);
  add.packet("a reset ends a stream and is not answered", make(kReset), 0, false);
  add.packet("data of no bytes does nothing", make(kData), 0, true);
  for (std::uint32_t bit = 0; bit < 32; ++bit) {
    Packet end = make(kShutdown);
    end.flags = 1u << bit;
    add("a shutdown with flag " + std::to_string(bit) + " alone does not end a stream", [=](VsockBench& bench) {
      const base::UniqueFd host = bench.open();
      bench.send(end);
      CHECK(bench.answer() == 0);
      CHECK_FALSE(bench.broken());
      CHECK(VsockBench::at_end(host) == (bit == 1));  // the host reads the guest's end
      bench.send(make(kReset));
      CHECK(VsockBench::at_end(host));
    });
  }
  for (const std::uint32_t flags : {3u, 0xffffffffu}) {
    Packet end = make(kShutdown);
    end.flags = flags;
    add.packet("a shutdown with flags " + std::to_string(flags) + " ends a stream", end, kReset, false);
  }
  for (const std::uint16_t operation :
       std::initializer_list<std::uint16_t>{0, kResponse, kData, kCreditUpdate, kCreditRequest, 99}) {
    add("operation " + std::to_string(operation) + " while the host has yet to connect ends the wait",
        [operation](VsockBench& bench) {
          bench.buffers(10);
          bench.send(make(kRequest));
          CHECK(bench.answer() == 0);
          bench.send(make(operation));
          CHECK(bench.answer() == kReset);
          // The host's connection is for the next stream, not for that one.
          const base::UniqueFd host = bench.connect();
          bench.settle();
          CHECK(bench.receive().empty());
          bench.send(make(kRequest, 78));
          CHECK(bench.answer() == kResponse);
        });
  }
  add("data after the guest's own end is reset", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open();
    Packet end = make(kShutdown);
    end.flags = 2;
    bench.send(end);
    bench.send_data("more");
    CHECK(bench.answer() == kReset);
    CHECK(VsockBench::read_all(host).empty());
  });
  add("data after a reset is reset", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open();
    bench.send(make(kReset));
    bench.send_data("more");
    CHECK(bench.answer() == kReset);
  });
}

void add_lengths(VsockRows add) {
  struct Lie {
    const char* name;
    std::uint32_t says;
    std::size_t is;
    bool breaks;
  };
  const Lie lies[] = {{"one more than there is", 6, 5, true},
                      {"far more than there is", 60000, 5, true},
                      {"something where there is nothing", 1, 0, true},
                      {"2^32 - 1", 0xffffffff, 5, true},
                      {"2^32 - 44, which wraps with the header", 0u - 44, 5, true},
                      {"2^31", 1u << 31, 5, true},
                      {"64 KiB and a byte, all there", 65537, 65537, true},
                      {"64 KiB, all there", 65536, 65536, false},
                      {"one less than there is", 4, 5, false},
                      {"nothing where there is something", 0, 5, false}};
  for (const Lie& lie : lies) {
    for (const std::uint16_t operation : {kData, kCreditUpdate, kRequest}) {
      const char* kind = operation == kData ? "data" : operation == kRequest ? "a connection" : "credit";
      add(std::string(kind) + " whose length says " + lie.name + (lie.breaks ? " breaks the driver" : " is taken"),
          [=](VsockBench& bench) {
            const base::UniqueFd host = bench.open();
            Packet packet = make(operation);
            packet.length = lie.says;
            bench.send(packet, std::string(lie.is, 'p'));
            CHECK(bench.broken() == lie.breaks);
            const bool passed = operation == kData && !lie.breaks;
            CHECK(VsockBench::read_all(host) == std::string(passed ? lie.says : 0, 'p'));
          });
    }
  }
  for (const std::size_t cut : {1u, 8u, 16u, 43u}) {
    add("a header of " + std::to_string(cut) + " bytes breaks the driver", [cut](VsockBench& bench) {
      bench.driver.offer(kFromGuest, std::string(cut, '\0'), 0);
      bench.kick(kFromGuest);
      CHECK(bench.broken());
    });
  }
  add("a packet in a writable buffer breaks the driver", [](VsockBench& bench) {
    bench.driver.offer(kFromGuest, {}, 100);
    bench.kick(kFromGuest);
    CHECK(bench.broken());
  });
  add("a packet cut byte by byte is a packet", [](VsockBench& bench) {
    const base::UniqueFd host = bench.open();
    Packet packet = make(kData);
    packet.length = 16;
    bench.driver.put(GuestAddress{FakeDriver::kBuffers}, packet);
    for (std::uint16_t i = 0; i < 60; ++i) {
      const auto next = static_cast<std::uint16_t>(i + 1);
      bench.driver.describe_raw(kFromGuest, i, {FakeDriver::kBuffers + i, 1, i < 59 ? kNext : std::uint16_t{0}, next});
    }
    bench.driver.publish(kFromGuest, 0);
    bench.kick(kFromGuest);
    CHECK(VsockBench::read_all(host).size() == 16);
  });
}

void add_buffers(VsockRows add) {
  for (const std::uint32_t bytes : {1u, 43u}) {
    add("a buffer of " + std::to_string(bytes) + " bytes for an answer breaks the driver", [bytes](VsockBench& bench) {
      bench.buffers(1, bytes);
      bench.send(make(kData));
      CHECK(bench.broken());
    });
  }
  add("buffers of a header alone take answers, but not a stream", [](VsockBench& bench) {
    bench.buffers(4, 44);
    bench.send(make(kData));
    CHECK(bench.answer() == kReset);
    const base::UniqueFd host = bench.connect();
    bench.send(make(kRequest));
    CHECK(bench.broken());
    CHECK(VsockBench::at_end(host));
  });
  add("buffers with room for one byte take all bytes, one by one", [](VsockBench& bench) {
    const base::UniqueFd host = bench.connect();
    bench.buffers(30, 45);
    bench.send(make(kRequest));
    CHECK(bench.answer() == kResponse);
    REQUIRE(::send(host.get(), "0123456789", 10, MSG_NOSIGNAL) == 10);
    bench.settle();
    CHECK(bench.receive().size() == 10);
    CHECK(bench.payload == "0123456789");
  });
  add("a buffer that is only readable breaks the driver", [](VsockBench& bench) {
    bench.driver.offer(kToGuest, std::string(100, 'r'), 0);
    bench.send(make(kData));
    CHECK(bench.broken());
  });
  add("no buffers: what the guest says waits, and nothing spins", [](VsockBench& bench) {
    for (int i = 0; i < 1000; ++i) {
      if (bench.driver.available_index(kFromGuest) - bench.driver.used_index(kFromGuest) < 60) bench.put(make(kData));
      bench.kick(kFromGuest);
    }
    CHECK(bench.driver.used_index(kFromGuest) < 200);
    CHECK_FALSE(bench.turn());
  });
  add("no buffers and a host that floods: nothing is read, nothing spins", [](VsockBench& bench) {
    const base::UniqueFd host = bench.connect();
    bench.buffers(1);
    bench.send(make(kRequest));
    CHECK(bench.answer() == kResponse);
    const std::string flood(1 << 20, 'f');
    CHECK(::send(host.get(), flood.data(), flood.size(), MSG_NOSIGNAL | MSG_DONTWAIT) > 0);
    bench.settle();
    CHECK_FALSE(bench.turn());
    bench.buffers(4);
    CHECK(bench.receive().size() == 4);
    CHECK_FALSE(bench.turn());
  });
  add("a full queue of packets that each want an answer is served whole by one kick", [](VsockBench& bench) {
    bench.write(reg::kStatus, 0);
    REQUIRE(bench.driver.negotiate(*bench.transport));
    for (std::uint32_t queue = 0; queue < 3; ++queue) {
      bench.driver.set_up_queue(*bench.transport, queue);
      bench.write(reg::kQueueNum, bench.read(reg::kQueueNumMax));
    }
    bench.write(reg::kStatus, bench.read(reg::kStatus) | status::kDriverOk);
    REQUIRE_FALSE(bench.broken());
    // As many buffers as its queue has entries, over one piece of memory, and as many packets in another.
    constexpr std::uint16_t kAll = 64;
    bench.driver.put(GuestAddress{FakeDriver::kBuffers}, make(kData));
    for (const std::uint32_t queue : {kToGuest, kFromGuest}) {
      for (std::uint16_t i = 0; i < kAll; ++i) {
        const bool in = queue == kToGuest;
        bench.driver.describe_raw(queue, i,
                                  {FakeDriver::kBuffers + (in ? 4096u : 0u), 44, in ? kWrite : std::uint16_t{0}, 0});
        bench.driver.put(bench.driver.available(queue) + (4ull + 2 * i), i);
      }
      bench.driver.set_available(queue, kAll);
    }
    bench.kick(kFromGuest);
    CHECK(bench.driver.used_index(kFromGuest) == kAll);
    CHECK(bench.driver.used_index(kToGuest) == kAll);
  });
  add("an event queue full of anything is left alone", [](VsockBench& bench) {
    bench.driver.offer(kEvents, std::string(100, 'e'), 100);
    bench.driver.set_available(kEvents, 0x4321);
    for (int i = 0; i < 100; ++i) bench.kick(kEvents);
    CHECK_FALSE(bench.broken());
    CHECK(bench.driver.used_index(kEvents) == 0);
    bench.use();
  });
  for (const std::uint32_t queue : {3u, 4u, 255u, 0xffffffffu}) {
    add("a kick of queue " + std::to_string(queue) + " does nothing", [queue](VsockBench& bench) {
      bench.kick(queue);
      CHECK_FALSE(bench.broken());
      bench.use();
    });
  }
}

}  // namespace

Table vsock_violations() {
  Rows<VsockBench> rows;
  const VsockRows add(rows);
  add_addresses(add);
  add_operations(add);
  add_lengths(add);
  add_buffers(add);
  add_vsock_streams(add);
  Table out = table("vsock", rows);
  for (const std::uint32_t queue : {kToGuest, kFromGuest}) {
    const auto first = static_cast<std::ptrdiff_t>(out.cases.size());
    append_common<VsockBench>(out, layout_rows(queue));
    append_common<VsockBench>(out, ring_rows(queue));
    for (auto at = out.cases.begin() + first; at != out.cases.end(); ++at) {
      at->name = (queue == kToGuest ? "to the guest: " : "from the guest: ") + at->name;
    }
  }
  return out;
}

}  // namespace sandforge::vmm::test
