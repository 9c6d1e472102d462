// SPDX-License-Identifier: Apache-2.0
// The session against the fake guest: whole operations, both ways, many at once.
#include <sys/stat.h>

#include <random>

#include "agent_client/guest.hpp"

using namespace sandforge;
using namespace sandforge::test;
using wire::EndedBy;
using wire::Operation;

namespace {

std::string random_bytes(std::size_t size) {
  std::mt19937_64 random(size);
  std::string bytes(size, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

}  // namespace

TEST_CASE("a command's output and verdict come back from the fake guest") {
  Guest guest;
  guest.ready();
  const auto echo = guest.exec({"echo", "hello", "world"});
  const auto verdict = guest.finish(*echo);
  CHECK(echo->data[1] == "hello world\n");
  CHECK(echo->ended == std::array<bool, 3>{false, true, true});
  CHECK(echo->meta.has_value());
  CHECK(verdict.exit_code == 0);
  CHECK(verdict.stdout_total == 12);
}

TEST_CASE("ten mebibytes go through cat and come back unchanged") {
  Guest guest;
  guest.ready();
  const std::string bytes = random_bytes(10 * limits::kMiB + 4321);
  const auto cat = guest.exec({"cat"}, true);
  guest.feed(*cat, bytes);
  const auto verdict = guest.finish(*cat);
  CHECK(verdict.stdout_total == bytes.size());
  CHECK((cat->data[1] == bytes));
}

TEST_CASE("a slow reader stops the writer and loses nothing") {
  Guest guest;
  guest.ready();
  const std::string bytes = random_bytes(2 * limits::kMiB + 77);
  const auto cat = guest.exec({"cat"}, true);
  cat->consume = false;
  std::size_t sent = 0;
  cat->when_sendable = [&] {
    sent += cat->stream->send(0, std::string_view(bytes).substr(sent));
    if (sent == bytes.size()) cat->stream->end(0);
  };
  cat->when_sendable();
  // Nothing is consumed: at most a window of output comes, and the input stops as well.
  std::size_t before = 1;
  while (before != sent + cat->data[1].size()) {
    before = sent + cat->data[1].size();
    run_until(
        guest.loop, [] { return false; }, std::chrono::milliseconds(30));
  }
  CHECK(cat->data[1].size() == limits::kStreamWindow);
  CHECK(sent < bytes.size());
  // Then it reads in small steps, each at a turn of its own.
  std::size_t consumed = 0;
  base::Subscription timer;
  std::function<void()> sip = [&] {
    const std::size_t step = std::min<std::size_t>(cat->data[1].size() - consumed, 50'000);
    cat->stream->consumed(1, step);
    consumed += step;
    timer = guest.loop.after(std::chrono::milliseconds(0), sip);
  };
  sip();
  guest.finish(*cat);
  CHECK((cat->data[1] == bytes));
}

TEST_CASE("fifty commands at once each get their own output") {
  Guest guest;
  guest.ready();
  std::vector<std::unique_ptr<StreamLog>> all;
  for (int i = 0; i < 50; ++i) {
    all.push_back(guest.exec({"sh", "-c", "echo " + std::to_string(i) + "; sleep 0.02; exit " + std::to_string(i)}));
  }
  for (int i = 0; i < 50; ++i) {
    CHECK(guest.finish(*all[static_cast<std::size_t>(i)]).exit_code == i);
    CHECK(all[static_cast<std::size_t>(i)]->data[1] == std::to_string(i) + "\n");
  }
}

TEST_CASE("one stalled stream does not block the others") {
  Guest guest;
  guest.ready();
  const auto stalled = guest.exec({"yes"});
  stalled->consume = false;
  const auto stalled_input = guest.exec({"sleep", "1000"}, true);
  const std::string bytes(limits::kMiB, 'x');
  CHECK(stalled_input->stream->send(0, bytes) > limits::kStreamWindow / 2);
  REQUIRE(run_until(guest.loop, [&] { return stalled->data[1].size() == limits::kStreamWindow; }));

  const auto cat = guest.exec({"cat"}, true);
  guest.feed(*cat, bytes);
  CHECK(guest.finish(*cat).stdout_total == bytes.size());
  CHECK(stalled->data[1].size() == limits::kStreamWindow);
}

TEST_CASE("cancel ends a command at once, though nobody reads its output") {
  Guest guest;
  guest.ready();
  const auto yes = guest.exec({"yes"});
  yes->consume = false;
  REQUIRE(run_until(guest.loop, [&] { return yes->data[1].size() == limits::kStreamWindow; }));
  yes->stream->cancel();
  const auto verdict = guest.finish(*yes);
  CHECK(verdict.ended_by == EndedBy::Killed);
  CHECK(verdict.exit_code == 137);
}

TEST_CASE("endless commands whose owners let go leave the session usable") {
  Guest guest;
  guest.ready();
  for (int round = 0; round < 3; ++round) {
    std::vector<std::unique_ptr<StreamLog>> all;
    for (int i = 0; i < 100; ++i) all.push_back(guest.exec({"yes"}));
    REQUIRE(run_until(guest.loop, [&] { return all.back()->data[1].size() > 1000; }));
  }
  const auto echo = guest.exec({"echo", "-n", "still here"});
  guest.finish(*echo);
  CHECK(echo->data[1] == "still here");
}

TEST_CASE("a file is written, read, described, listed, renamed and removed") {
  Guest guest;
  guest.ready();
  const std::string bytes = random_bytes(3 * limits::kMiB + 5);
  const auto written = guest.write_file("/data/dir/file.bin", bytes, 0600);
  REQUIRE(written.code == base::Code::Ok);
  const auto info = wire::decode<wire::FileInfo>(written.body);
  REQUIRE(info);
  CHECK(info.value().name == "file.bin");
  CHECK(info.value().length == bytes.size());
  CHECK(info.value().mode == (S_IFREG | 0600));

  const auto read = guest.open(Operation::FileRead, wire::FileReadRequest{"/data/dir/file.bin"});
  REQUIRE(guest.wait(*read));
  CHECK(read->ok());
  CHECK((read->data[0] == bytes));
  CHECK(read->ended[0]);
  const auto part = guest.open(Operation::FileRead, wire::FileReadRequest{"/data/dir/file.bin", 1000, 20});
  REQUIRE(guest.wait(*part));
  CHECK(part->data[0] == bytes.substr(1000, 20));

  CHECK(guest.call(Operation::FileRename, wire::RenameRequest{"/data/dir/file.bin", "/data/other"}).code ==
        base::Code::Ok);
  CHECK(guest.on_path(Operation::FileStat, "/data/dir/file.bin").os_errno == ENOENT);
  CHECK(guest.on_path(Operation::FileStat, "/data/other").code == base::Code::Ok);
  CHECK(guest.on_path(Operation::FileRemove, "/data").os_errno == ENOTEMPTY);
  CHECK(guest.on_path(Operation::FileRemove, "/data", 1).code == base::Code::Ok);
  CHECK(guest.on_path(Operation::FileStat, "/data").code == base::Code::NotFound);
}

TEST_CASE("a long listing comes in frames of whole records") {
  Guest guest;
  guest.ready();
  for (int i = 0; i < 3000; i += 500) {
    std::vector<std::unique_ptr<StreamLog>> made;
    for (int j = i; j < i + 500; ++j) {
      const std::string path = "/many/" + std::to_string(j) + std::string(150, 'n');
      made.push_back(guest.open(Operation::MakeDirectory, wire::PathRequest{path, 0, 1}));
    }
    for (const auto& one : made) REQUIRE(guest.wait(*one));
  }
  auto list = guest.open(Operation::FileList, wire::PathRequest{"/many", 0, 0});
  std::size_t entries = 0, at = 0;
  list->when_data = [&] {
    const std::string& bytes = list->data[0];
    while (at < bytes.size()) {
      std::uint32_t length = 0;
      REQUIRE(bytes.size() - at >= sizeof length);
      std::memcpy(&length, bytes.data() + at, sizeof length);
      REQUIRE(wire::decode<wire::FileInfo>(std::string_view(bytes).substr(at + sizeof length, length)));
      at += sizeof length + length;
      ++entries;
    }
  };
  REQUIRE(guest.wait(*list));
  CHECK(list->ok());
  CHECK(entries == 3000);
  CHECK(list->data[0].size() > limits::kStreamWindow);
}

TEST_CASE("a file write that is cancelled or whose owner lets go leaves nothing") {
  Guest guest;
  guest.ready();
  {
    const auto let_go = guest.open(Operation::FileWrite, wire::FileWriteRequest{"/tmp/a", 0});
    let_go->stream->send(0, "half");
  }
  const auto cancelled = guest.open(Operation::FileWrite, wire::FileWriteRequest{"/tmp/b", 0});
  cancelled->stream->send(0, "half");
  cancelled->stream->cancel();
  REQUIRE(guest.wait(*cancelled));
  CHECK(cancelled->result->value().code != base::Code::Ok);
  CHECK(guest.on_path(Operation::FileStat, "/tmp/a").os_errno == ENOENT);
  CHECK(guest.on_path(Operation::FileStat, "/tmp/b").os_errno == ENOENT);
}

TEST_CASE("a new connection to the same guest finds its files") {
  Guest guest;
  guest.ready();
  const auto nonce = guest.log.hello->nonce;
  CHECK(guest.write_file("/tmp/kept", "here").code == base::Code::Ok);
  guest.connect();
  guest.ready();
  CHECK(guest.log.hello->nonce == nonce);
  CHECK(guest.on_path(Operation::FileStat, "/tmp/kept").code == base::Code::Ok);
}
