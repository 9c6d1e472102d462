// SPDX-License-Identifier: Apache-2.0
// What a driver of virtio-fs, and a file server in a guest's hands, must not do.
#include "base/limits.hpp"
#include "vmm/violations/fs_bench.hpp"

namespace sandforge::vmm::test {
namespace {

constexpr std::uint64_t kFree = FakeDriver::kBuffers;
constexpr std::uint32_t kHead = sizeof(fuse_in_header);

// A request whose envelope lies: the device needs a reset, and the server hears nothing of it.
Row<FsBench> envelope(std::string name, std::string request, std::uint32_t writable, std::uint32_t queue) {
  return {std::move(name), [=](FsBench& b) {
            b.send(request, writable, queue);
            CHECK(b.broken());
            CHECK(b.received().empty());
          }};
}

Rows<FsBench> envelopes(std::uint32_t queue) {
  const std::string where = queue == fs::kRequests ? "requests: " : "high priority: ";
  Rows<FsBench> rows;
  const auto add = [&](const char* name, std::string request, std::uint32_t writable = 64) {
    rows.push_back(envelope(where + name, std::move(request), writable, queue));
  };
  const std::string honest = fs::request(FUSE_LOOKUP, 1, std::string("name\0", 5));
  for (const std::uint32_t cut : {1u, 4u, 8u, 39u}) {
    add(("a header cut after byte " + std::to_string(cut)).c_str(), honest.substr(0, cut));
  }
  add("nothing to read", {});
  add("nothing at all to write to", honest, 0);
  for (const std::uint32_t room : {1u, 8u, 15u}) {
    add(("room for " + std::to_string(room) + " bytes of an answer").c_str(), honest, room);
  }
  for (const std::uint32_t length :
       {1u, 4u, 39u, 40u, 44u, 46u, 4096u, 1u << 20, 1u << 31, UINT32_MAX - 39, UINT32_MAX}) {
    add(("45 bytes that say they are " + std::to_string(length)).c_str(),
        fs::request(FUSE_LOOKUP, 1, std::string("name\0", 5), length));
  }
  add("longer than any request", fs::request(FUSE_WRITE, 1, std::string(limits::kFsdMessageBytesMax - kHead + 1, 'w')));
  return rows;
}

Rows<FsBench> requests() {
  return {
      {"an opcode that is none",
       [](FsBench& b) {
         b.send(fs::request(UINT32_MAX, 5));
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         b.say(fs::answer(FsBench::number_of(messages[0]), {}, -ENOSYS));
         CHECK(b.answered() == fs::answer(5, {}, -ENOSYS));
       }},
      {"two requests of one number",
       [](FsBench& b) {
         b.send(fs::request(FUSE_GETATTR, 9, "one"));
         b.send(fs::request(FUSE_GETATTR, 9, "two"));
         const auto messages = b.received();
         REQUIRE(messages.size() == 2);
         CHECK(FsBench::number_of(messages[0]) != FsBench::number_of(messages[1]));
         b.say(fs::answer(FsBench::number_of(messages[1]), "2"));
         CHECK(b.answered() == fs::answer(9, "2"));
         b.say(fs::answer(FsBench::number_of(messages[0]), "1"));
         CHECK(b.answered() == fs::answer(9, "1"));
       }},
      {"forgets with room for an answer",
       [](FsBench& b) {
         b.send(fs::request(FUSE_FORGET, 1, std::string(8, 'n')), 64, fs::kHighPriority);
         CHECK(b.driver.used_index(fs::kHighPriority) == 1);
         CHECK(b.received().size() == 1);
       }},
      {"forgets on the wrong queue",
       [](FsBench& b) {
         b.send(fs::request(FUSE_BATCH_FORGET, 1, std::string(8, '\0')), 0);
         CHECK(b.driver.used_index(fs::kRequests) == 1);
         CHECK(b.received().size() == 1);
       }},
      {"an interruption, with and without room for an answer",
       [](FsBench& b) {
         b.send(fs::request(FUSE_INTERRUPT, 1, std::string(8, '\2')), 0, fs::kHighPriority);
         b.send(fs::request(FUSE_INTERRUPT, 1, std::string(8, '\2')), 64, fs::kHighPriority);
         CHECK(b.driver.used_index(fs::kHighPriority) == 2);
         CHECK(b.received().empty());
       }},
      {"descriptors that are used again while the server has them",
       [](FsBench& b) {
         const std::string request = fs::request(FUSE_GETATTR, 3);
         b.driver.describe_raw(fs::kRequests, 0, {kFree, kHead, kNext, 1});
         b.driver.describe_raw(fs::kRequests, 1, {kFree + 4096, 64, kWrite, 0});
         (void)b.driver.memory().write(GuestAddress{kFree}, std::as_bytes(std::span(request)));
         int taken = 0;
         for (; taken < 2000 && !b.broken(); ++taken) {
           b.driver.publish(fs::kRequests, 0);
           b.kick(fs::kRequests);
           (void)b.received();
         }
         CHECK(b.broken());
         CHECK(taken <= 2 * kQueueSizeMax + 1);
       }},
      {"a driver that never stops asking a server that never reads",
       [](FsBench& b) {
         const std::string body(60'000, 'w');
         for (int i = 0; i < 30 && !b.broken(); ++i) b.send(fs::request(FUSE_WRITE, 1, body), 64);
         CHECK_FALSE(b.broken());
         CHECK(b.driver.used_index(fs::kRequests) == 0);
         CHECK(b.received().size() == 30);
       }},
      {"a reset in the middle of a request",
       [](FsBench& b) {
         for (int i = 0; i < 8; ++i) b.send(fs::request(FUSE_WRITE, 1, std::string(60'000, 'w')), 64);
         b.write(reg::kStatus, 0);
         b.start();
         // What was cut off is filled up: the stream still has whole messages only.
         for (const std::string& message : b.received()) CHECK(message.size() == 60'040);
       }},
      {"a reset while the server thinks",
       [](FsBench& b) {
         b.send(fs::request(FUSE_GETATTR, 1));
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         b.write(reg::kStatus, 0);
         b.start();
         b.say(fs::answer(FsBench::number_of(messages[0]), "late"));
         CHECK(b.driver.used_index(fs::kRequests) == 0);
         CHECK_FALSE(b.lost());
       }},
      {"a reset in the middle of an answer",
       [](FsBench& b) {
         b.send(fs::request(FUSE_READ, 1), 4096);
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         const std::string answer = fs::answer(FsBench::number_of(messages[0]), std::string(3000, 'r'));
         b.say(answer.substr(0, 1000));
         b.write(reg::kStatus, 0);
         b.start();
         b.say(answer.substr(1000));
         CHECK(b.driver.used_index(fs::kRequests) == 0);
         CHECK_FALSE(b.lost());
       }},
  };
}

// A server that says what it must not: it is hung up on, and the guest hears EIO.
Row<FsBench> lie(std::string name, std::uint32_t writable, std::function<std::string(std::uint64_t)> says) {
  return {std::move(name), [=](FsBench& b) {
            b.send(fs::request(FUSE_READ, 21), writable);
            const auto messages = b.received();
            REQUIRE(messages.size() == 1);
            b.say(says(FsBench::number_of(messages[0])));
            CHECK(b.lost());
            CHECK(b.answered() == fs::answer(21, {}, -EIO));
            CHECK_FALSE(b.broken());
          }};
}

Rows<FsBench> servers() {
  Rows<FsBench> rows = {
      lie("server: more than the request has room for", 64,
          [](std::uint64_t number) { return fs::answer(number, std::string(49, 'x')); }),
      lie("server: an answer that says it is longer than the room", 64,
          [](std::uint64_t number) { return fs::answer(number, {}, 0, 4096); }),
      {"server: an answer that exactly fills the room",
       [](FsBench& b) {
         b.send(fs::request(FUSE_READ, 21), 64);
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         b.say(fs::answer(FsBench::number_of(messages[0]), std::string(48, 'x')));
         CHECK(b.answered() == fs::answer(21, std::string(48, 'x')));
       }},
      {"server: answers nobody waits for",
       [](FsBench& b) {
         for (std::uint64_t number = 0; number < 100; ++number) b.say(fs::answer(number * 77, std::string(5000, 'x')));
         CHECK_FALSE(b.lost());
         CHECK(b.driver.used_index(fs::kRequests) == 0);
       }},
      {"server: the same answer twice",
       [](FsBench& b) {
         b.send(fs::request(FUSE_READ, 21), 64);
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         const std::string answer = fs::answer(FsBench::number_of(messages[0]), "once");
         b.say(answer + answer);
         CHECK(b.answered() == fs::answer(21, "once"));
         CHECK_FALSE(b.lost());
       }},
      {"server: an answer one byte at a time",
       [](FsBench& b) {
         b.send(fs::request(FUSE_READ, 21), 64);
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         for (const char byte : fs::answer(FsBench::number_of(messages[0]), "slow")) b.say({&byte, 1});
         CHECK(b.answered() == fs::answer(21, "slow"));
       }},
      {"server: gone with requests under way on both queues",
       [](FsBench& b) {
         for (int i = 0; i < 5; ++i) b.send(fs::request(FUSE_READ, 30), 64);
         b.send(fs::request(FUSE_GETATTR, 31), 64, fs::kHighPriority);
         b.hang_up();
         CHECK(b.driver.used(fs::kRequests).size() == 5);
         CHECK(b.answered(fs::kHighPriority) == fs::answer(31, {}, -EIO));
       }},
      {"server: gone in the middle of an answer",
       [](FsBench& b) {
         b.send(fs::request(FUSE_READ, 30), 4096);
         const auto messages = b.received();
         REQUIRE(messages.size() == 1);
         b.say(fs::answer(FsBench::number_of(messages[0]), std::string(3000, 'r')).substr(0, 1500));
         b.hang_up();
         CHECK(b.answered() == fs::answer(30, {}, -EIO));
       }},
      {"server: gone while it did not read",
       [](FsBench& b) {
         for (int i = 0; i < 8; ++i) b.send(fs::request(FUSE_WRITE, 40, std::string(60'000, 'w')), 64);
         b.hang_up();
         const auto used = b.driver.used(fs::kRequests);
         CHECK(used.size() == 8);
         for (const std::string& answer : used) CHECK(answer == fs::answer(40, {}, -EIO));
       }},
  };
  for (const std::uint32_t length :
       {0u, 1u, 15u, std::uint32_t{limits::kFsdMessageBytesMax + 1}, 1u << 31, UINT32_MAX}) {
    rows.push_back(lie("server: an answer that says it is " + std::to_string(length) + " bytes long", 64,
                       [=](std::uint64_t number) {
                         std::string answer = fs::answer(number);
                         std::memcpy(answer.data(), &length, sizeof length);
                         return answer;
                       }));
  }
  return rows;
}

}  // namespace

Table fs_violations() {
  Table out = table<FsBench>("fs", requests());
  append(out, envelopes(fs::kRequests));
  append(out, envelopes(fs::kHighPriority));
  append(out, servers());
  append_common<FsBench>(out, ring_rows(fs::kRequests));
  append_common<FsBench>(out, ring_rows(fs::kHighPriority));
  return out;
}

}  // namespace sandforge::vmm::test
