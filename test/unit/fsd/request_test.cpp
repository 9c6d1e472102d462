// SPDX-License-Identifier: Apache-2.0
// What the parser makes of FUSE messages: those of a kernel, and a table of those that lie.
#include "fsd/protocol/request.hpp"

#include <doctest/doctest.h>

#include <cerrno>
#include <cstdio>
#include <functional>

#include "base/limits.hpp"
#include "fsd/messages.hpp"

using namespace sandforge;
using namespace sandforge::fsd;
using test::Exact;
using test::good_message;
using test::Message;
using Verdict = Parsed::Verdict;

namespace {

constexpr int kRowsMin = 150;

struct Row {
  std::string name;
  std::string bytes;
  Verdict verdict;
  int error;
};

void refused(std::vector<Row>& rows, std::string name, const Message& message, int error = EINVAL) {
  rows.push_back({std::move(name), message.bytes(), Verdict::Refused, error});
}

void broken(std::vector<Row>& rows, std::string name, std::string bytes) {
  rows.push_back({std::move(name), std::move(bytes), Verdict::Broken, 0});
}

// For each opcode: all that can be wrong with any message.
void rows_of_all(std::vector<Row>& rows) {
  for (const Opcode& opcode : all_opcodes()) {
    const std::string name = opcode.name;
    const std::string good = good_message(opcode).bytes();
    const auto length = static_cast<std::uint32_t>(good.size());
    broken(rows, name + " that claims one byte more than there is", good_message(opcode).length(length + 1).bytes());
    broken(rows, name + " that claims one byte less than there is", good_message(opcode).length(length - 1).bytes());
    refused(rows, name + " with extensions nobody asked for", good_message(opcode).extensions(1));
    if (length > sizeof(fuse_in_header)) {
      refused(rows, name + " without its body", Message(opcode.number));
      refused(rows, name + " without its last byte", good_message(opcode).cut(1));
    }
    if (opcode.tail != Tail::Newer) refused(rows, name + " with a byte too many", good_message(opcode).zeroes(1));
    if (opcode.body > 1) refused(rows, name + " with a byte of body", Message(opcode.number).zeroes(1));
  }
}

// For each opcode with names: all that can be wrong with a name, at each place of one.
void rows_of_names(std::vector<Row>& rows) {
  struct BadName {
    const char* what;
    std::string name;
    int error;
  };
  const BadName bad[] = {
      {"empty", "", EINVAL},
      {".", ".", EINVAL},
      {"..", "..", EINVAL},
      {"/", "/", EINVAL},
      {"a slash in the middle", "a/b", EINVAL},
      {"a slash at the end", "a/", EINVAL},
      {"an absolute path", "/etc/passwd", EINVAL},
      {"a way up", "../../etc/passwd", EINVAL},
      {"256 bytes", std::string(256, 'n'), ENAMETOOLONG},
      {"64 KiB", std::string(65536, 'n'), ENAMETOOLONG},
  };
  for (const Opcode& opcode : all_opcodes()) {
    for (std::size_t at = 0; at < 2 && opcode.texts[at] != Text::None; ++at) {
      if (opcode.texts[at] != Text::Name) continue;
      const auto with = [&](const std::string& name) {
        Message message(opcode.number);
        message.zeroes(opcode.body);
        for (std::size_t i = 0; i < 2 && opcode.texts[i] != Text::None; ++i) message.text(i == at ? name : "fine");
        return message;
      };
      for (const BadName& one : bad) {
        refused(rows, std::string(opcode.name) + " with the name " + one.what, with(one.name), one.error);
      }
      // The bytes after an embedded NUL are one text too many.
      refused(rows, std::string(opcode.name) + " with a NUL in a name", with(std::string("a\0b", 3)));
      refused(rows, std::string(opcode.name) + " with two names too many", with("a").text("b").text("c"));
    }
  }
}

void rows_of_lies(std::vector<Row>& rows) {
  const auto write = [](std::uint32_t size, std::size_t bytes) {
    fuse_write_in in{};
    in.size = size;
    return Message(FUSE_WRITE).put(in).raw(std::string(bytes, 'w'));
  };
  refused(rows, "a WRITE of more than it brings", write(100, 99));
  refused(rows, "a WRITE of less than it brings", write(99, 100));
  refused(rows, "a WRITE of nothing with data", write(0, 1));
  refused(rows, "a WRITE of 2^32 - 1 bytes", write(UINT32_MAX, 16));
  refused(rows, "a WRITE of 2^31 bytes", write(1u << 31, 16));
  const auto forgets = [](std::uint32_t count, std::size_t bytes) {
    return Message(FUSE_BATCH_FORGET).put(fuse_batch_forget_in{count, 0}).zeroes(bytes);
  };
  refused(rows, "a BATCH_FORGET of one more than it brings", forgets(3, 32));
  refused(rows, "a BATCH_FORGET of one less than it brings", forgets(1, 32));
  refused(rows, "a BATCH_FORGET of 2^32 - 1", forgets(UINT32_MAX, 64));
  refused(rows, "a BATCH_FORGET whose length wraps around to what it brings", forgets(0x10000001, 16));
  refused(rows, "a BATCH_FORGET with half an entry", forgets(1, 8));
  refused(rows, "a BATCH_FORGET of none with one", forgets(0, 16));
  const auto value = [](std::uint32_t size, std::size_t bytes) {
    const std::uint32_t in[2] = {size, 0};
    return Message(FUSE_SETXATTR).put(in).text("user.a").raw(std::string(bytes, 'v'));
  };
  refused(rows, "a SETXATTR of more than it brings", value(9, 8));
  refused(rows, "a SETXATTR of less than it brings", value(7, 8));
  refused(rows, "a SETXATTR of 2^32 - 1 bytes", value(UINT32_MAX, 8));
  refused(rows, "a SETXATTR without a name", Message(FUSE_SETXATTR).zeroes(8).text(""));
  refused(rows, "a SETXATTR with a name of 256 bytes", Message(FUSE_SETXATTR).zeroes(8).text(std::string(256, 'x')),
          ENAMETOOLONG);
  refused(rows, "a GETXATTR without a name", Message(FUSE_GETXATTR).zeroes(8).text(""));
  refused(rows, "a SYMLINK to nothing", Message(FUSE_SYMLINK).text("a").text(""), ENOENT);
  refused(rows, "a SYMLINK to 4096 bytes", Message(FUSE_SYMLINK).text("a").text(std::string(4096, 't')), ENAMETOOLONG);
  refused(rows, "a SYMLINK without a target", Message(FUSE_SYMLINK).text("a"));
  refused(rows, "a SYMLINK whose target has no NUL", Message(FUSE_SYMLINK).text("a").raw("t"));
  refused(rows, "a RENAME with one name", Message(FUSE_RENAME).zeroes(8).text("a"));
  refused(rows, "a RENAME whose second name has no NUL", Message(FUSE_RENAME).zeroes(8).text("a").raw("b"));
  refused(rows, "a RENAME2 with the body of RENAME", Message(FUSE_RENAME2).zeroes(8).text("a").text("b"));
  refused(rows, "an INIT with a body of 15 bytes", Message(FUSE_INIT).zeroes(15));
  refused(rows, "an INIT with 8 KiB of news", Message(FUSE_INIT).zeroes(8192));
}

void rows_of_strangers(std::vector<Row>& rows) {
  for (const std::uint32_t number : {0u, 7u, 19u, 31u, 32u, 33u, 37u, 39u, 40u, 41u, 48u, 49u, 52u, 53u, 4096u,
                                     1048576u, 436207616u, 1u << 31, UINT32_MAX}) {
    refused(rows, "opcode " + std::to_string(number), Message(number).zeroes(64), ENOSYS);
  }
  broken(rows, "nothing at all", "");
  for (const std::size_t length : {1u, 3u, 4u, 8u, 39u}) {
    broken(rows, std::to_string(length) + " bytes of a header",
           Message(FUSE_GETATTR).length(static_cast<std::uint32_t>(length)).bytes().substr(0, length));
  }
  for (const std::uint32_t length : {0u, 1u, 39u, 1u << 31, UINT32_MAX}) {
    broken(rows, "a length of " + std::to_string(length), Message(FUSE_STATFS).length(length).bytes());
  }
  constexpr auto kMax = static_cast<std::uint32_t>(limits::kFsdMessageBytesMax);
  broken(rows, "one byte over the longest message", Message(FUSE_WRITE).zeroes(kMax + 1 - 40).bytes());
}

std::vector<Row> all_rows() {
  std::vector<Row> rows;
  rows_of_all(rows);
  rows_of_names(rows);
  rows_of_lies(rows);
  rows_of_strangers(rows);
  return rows;
}

}  // namespace

TEST_CASE("a message that is malformed or lies is refused with its errno, and nothing beyond it is read") {
  const std::vector<Row> rows = all_rows();
  for (const Row& row : rows) {
    INFO(row.name);
    const Exact message(row.bytes);
    const Parsed parsed = parse(message.span());
    CHECK(parsed.verdict == row.verdict);
    CHECK(parsed.error == row.error);
  }
  std::printf("violations: %zu of FUSE messages\n", rows.size());
  CHECK(rows.size() >= kRowsMin);
}

TEST_CASE("a good message of each opcode is taken apart as it was put together") {
  for (const Opcode& opcode : all_opcodes()) {
    INFO(opcode.name);
    const Exact message(good_message(opcode, 42).bytes());
    const Parsed parsed = parse(message.span());
    REQUIRE(parsed.verdict == Verdict::Good);
    CHECK(parsed.request.opcode == &opcode);
    CHECK(parsed.request.node == 42);
    CHECK(parsed.request.unique == 7);
    CHECK(parsed.request.fixed.size() == opcode.body);
    if (opcode.texts[0] != Text::None) CHECK(parsed.request.texts[0] == "first");
    if (opcode.texts[1] != Text::None) CHECK(parsed.request.texts[1] == "second");
    if (opcode.tail == Tail::Data || opcode.tail == Tail::Value) CHECK(parsed.request.data.size() == 3);
    if (opcode.tail == Tail::Forgets) CHECK(parsed.request.forget_count() == 3);
  }
}

TEST_CASE("every truncation of a good message is refused, whether its length tells or not") {
  for (const Opcode& opcode : all_opcodes()) {
    const std::string good = good_message(opcode).bytes();
    // What remains of an INIT is an INIT of an older kernel.
    const std::size_t whole = opcode.tail == Tail::Newer ? 40u + opcode.body : good.size();
    for (std::size_t length = 0; length < whole; ++length) {
      INFO(opcode.name, " of ", length, " bytes");
      CHECK(parse(Exact(good.substr(0, length)).span()).verdict == Verdict::Broken);
      std::string honest = good.substr(0, length);
      const auto told = static_cast<std::uint32_t>(length);
      if (length >= 4) std::memcpy(honest.data(), &told, sizeof told);
      CHECK(parse(Exact(honest).span()).verdict != Verdict::Good);
    }
  }
}

TEST_CASE("the longest names, targets and data pass") {
  const std::string longest(255, 'n');
  CHECK(parse(Exact(Message(FUSE_LOOKUP).text(longest).bytes()).span()).verdict == Verdict::Good);
  CHECK(parse(Exact(Message(FUSE_SYMLINK).text("a").text(std::string(4095, 't')).bytes()).span()).verdict ==
        Verdict::Good);
  fuse_write_in in{};
  in.size = limits::kFsdDataBytesMax;
  const Exact message(Message(FUSE_WRITE).put(in).zeroes(in.size).bytes());
  const Parsed parsed = parse(message.span());
  REQUIRE(parsed.verdict == Verdict::Good);
  CHECK(parsed.request.data.size() == in.size);
  CHECK(parse(Exact(Message(FUSE_LOOKUP).text("...").bytes()).span()).verdict == Verdict::Good);
  CHECK(parse(Exact(Message(FUSE_LOOKUP).text("\xff\x01 \\").bytes()).span()).verdict == Verdict::Good);
}

TEST_CASE("an INIT may be as short as the oldest and longer than the newest") {
  CHECK(parse(Exact(Message(FUSE_INIT).zeroes(16).bytes()).span()).verdict == Verdict::Good);
  CHECK(parse(Exact(Message(FUSE_INIT).zeroes(64).bytes()).span()).verdict == Verdict::Good);
  const Exact longer(Message(FUSE_INIT).zeroes(200).bytes());
  CHECK(parse(longer.span()).verdict == Verdict::Good);
}
