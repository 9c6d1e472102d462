// SPDX-License-Identifier: Apache-2.0
// The fake backend: its commands, its scripted failures, and that it holds its host to the protocol too.
#include <poll.h>
#include <sys/socket.h>

#include <chrono>

#include "agent_client/guest.hpp"
#include "agent_client/raw_peer.hpp"

using namespace sandforge;
using namespace sandforge::test;
using wire::EndedBy;
using wire::FrameType;
using wire::Operation;

namespace {

bool has_ended(backend::Worker& worker, int timeout_ms = 5000) {
  pollfd poll_fd{worker.exited_fd(), POLLIN, 0};
  return ::poll(&poll_fd, 1, timeout_ms) == 1;
}

struct Ran {
  int code;
  std::string out, err;
  wire::ExecResult verdict;
};
Ran run(Guest& guest, std::vector<std::string> argv, wire::ExecRequest request = {}, std::string_view input = {}) {
  request.argv = std::move(argv);
  request.stream_stdin = !input.empty();
  const auto events = guest.open(Operation::Exec, request);
  if (!input.empty()) guest.feed(*events, input);
  const auto verdict = guest.finish(*events);
  return {verdict.exit_code, events->data[1], events->data[2], verdict};
}
Ran sh(Guest& guest, const std::string& script) { return run(guest, {"sh", "-c", script}); }

}  // namespace

TEST_CASE("the fake backend is the last of the table, is available and isolates nothing") {
  const auto backends = backend::make_backends();
  REQUIRE_FALSE(backends.empty());
  CHECK(std::string(backends.back()->name()) == "fake");
  const auto probe = backends.back()->probe();
  CHECK(probe.available);
  CHECK(probe.isolation == backend::Isolation::None);
  CHECK_FALSE(probe.uses_images);
}

TEST_CASE("the fake's programs do what their namesakes do") {
  Guest guest;
  guest.ready();
  CHECK(run(guest, {"true"}).code == 0);
  CHECK(run(guest, {"false"}).code == 1);
  CHECK(run(guest, {"/bin/echo", "-n", "a", "b"}).out == "a b");
  CHECK(run(guest, {"printf", "%s=%d\\n", "x", "1"}).out == "x=1\n");
  CHECK(run(guest, {"printf", "\\000\\377\\x%%"}).out == std::string("\0\xff\\x%", 5));
  CHECK(run(guest, {"pwd"}).out == "/\n");
  CHECK(run(guest, {"cat", "/etc/hostname"}).out == "host-name\n");
  CHECK(run(guest, {"cat", "/nowhere"}).code == 1);
  CHECK(run(guest, {"head", "-c", "300000", "/dev/zero"}).out == std::string(300000, '\0'));
  CHECK(run(guest, {"wc", "-c"}, {}, "12345").out == "5\n");
  CHECK(run(guest, {"cat"}, {}, "in\0put").out == "in");
  CHECK(run(guest, {"head", "-c", "3"}, {}, "12345").out == "123");
  CHECK(run(guest, {"cat"}).out.empty());  // stdin is /dev/null
  wire::ExecRequest request;
  request.cwd = "/tmp";
  request.env = {"A=1", "HOME=/x"};
  CHECK(run(guest, {"pwd"}, request).out == "/tmp\n");
  CHECK(run(guest, {"env"}, request).out == "A=1\nHOME=/x\nLANG=C.UTF-8\nPATH=/usr/local/bin:/usr/bin:/bin\n");
}

TEST_CASE("a command that cannot be started says why and has no meta") {
  Guest guest;
  guest.ready();
  const auto events = guest.exec({"no-such-program"});
  const auto verdict = guest.finish(*events);
  CHECK(verdict.exit_code == 127);
  CHECK(verdict.ended_by == EndedBy::Exit);
  CHECK(events->data[2] == verdict.reason + "\n");
  CHECK(verdict.reason.find("no-such-program") != std::string::npos);
  CHECK_FALSE(events->meta);
  wire::ExecRequest request;
  request.cwd = "/nowhere";
  CHECK(run(guest, {"true"}, request).code == 126);
  request.cwd = "";
  request.user = "nobody-knows";
  CHECK(run(guest, {"true"}, request).code == 126);
  CHECK(guest.call(Operation::Exec, wire::ExecRequest{}).code == base::Code::InvalidArgument);
}

TEST_CASE("the fake shell runs what tests need") {
  Guest guest;
  guest.ready();
  const std::pair<const char*, const char*> outputs[] = {
      {"echo a; echo b", "a\nb\n"},
      {"true && echo yes", "yes\n"},
      {"false && echo no; echo after", "after\n"},
      {"false || echo rescued", "rescued\n"},
      {"echo one\necho two # not three", "one\ntwo\n"},
      {"X=hello; echo $X ${X}s \"$X x\" '$X'", "hello hellos hello x $X\n"},
      {"X='a  b'; echo $X; echo \"$X\"", "a b\na  b\n"},
      {"A=1 env >/tmp/e; echo \"[$A]\"", "[]\n"},
      {"export B=2; sh -c 'echo $B'", "2\n"},
      {"echo text > /tmp/f; echo more >> /tmp/f; cat /tmp/f; cat < /tmp/f", "text\nmore\ntext\nmore\n"},
      {"echo out; echo err >&2", "out\n"},
      {"false; echo $?", "1\n"},
      {"mkdir -p /tmp/x/y && cd /tmp/x && pwd && ls", "/tmp/x\ny\n"},
      {"[ -f /etc/hostname ] && echo file; [ -d /tmp ] && echo dir; test a = b || echo differs",
       "file\ndir\ndiffers\n"},
      {"rm -rf /tmp/x /tmp/not-there; ls /tmp/x 2>/dev/null; echo \\\"quoted\\\"", "\"quoted\"\n"},
      {"echo a\\ b \"c\\\"d\" e''f", "a b c\"d ef\n"},
      {"exec echo last; echo never", "last\n"},
      {"no-such 2>&1; echo $?", "sh: 1: no-such: not found\n127\n"},
      {"", ""},
  };
  for (const auto& one : outputs) {
    const char* script = one.first;
    const std::string expected = one.second;
    CAPTURE(std::string(script));
    CHECK(sh(guest, script).out == expected);
  }
  CHECK(sh(guest, "echo err >&2").err == "err\n");
  CHECK(sh(guest, "exit 42; echo no").code == 42);
  CHECK(sh(guest, "true; false").code == 1);
  CHECK(sh(guest, "cd /nowhere && echo no").code == 2);
  CHECK(run(guest, {"sh", "-c", "echo $0 $1", "name", "arg"}).out == "name arg\n");
}

TEST_CASE("what the fake shell does not know is refused and never guessed") {
  Guest guest;
  guest.ready();
  for (const char* script : {"echo a | cat", "echo $(pwd)", "sleep 1 &", "ls *", "echo 'open", "echo a >", "(true)"}) {
    CAPTURE(std::string(script));
    const auto ran = sh(guest, script);
    CHECK(ran.code == 2);
    CHECK(ran.err.find("the fake shell does not know") != std::string::npos);
    CHECK(ran.out.empty());
  }
  CHECK(run(guest, {"sh", "-c", "sh -c \"$S\""},
            [] {
              wire::ExecRequest request;
              request.env = {"S=sh -c \"$S\""};
              return request;
            }())
            .code == 2);
}

TEST_CASE("a command that signals itself, or is signalled, ends by that signal") {
  Guest guest;
  guest.ready();
  auto verdict = sh(guest, "echo before; kill -9 $$; echo never").verdict;
  CHECK(verdict.ended_by == EndedBy::Signal);
  CHECK(verdict.signal == 9);
  CHECK(verdict.exit_code == 137);
  CHECK(verdict.stdout_total == 7);
  CHECK(sh(guest, "kill -s TERM $$").code == 143);

  const auto sleeper = guest.exec({"sleep", "1000"});
  REQUIRE(run_until(guest.loop, [&] { return sleeper->meta.has_value(); }));
  sleeper->stream->signal(28);  // SIGWINCH: ignored
  sleeper->stream->signal(2);
  verdict = guest.finish(*sleeper);
  CHECK(verdict.signal == 2);
  CHECK(verdict.exit_code == 130);
}

TEST_CASE("a time-out ends the command with 124, whatever it does") {
  Guest guest;
  guest.ready();
  for (const char* script : {"sleep 1000", "yes", "echo out; sleep 1000"}) {
    wire::ExecRequest request;
    request.timeout_ms = 60;
    const auto verdict = run(guest, {"sh", "-c", script}, request).verdict;
    CHECK(verdict.ended_by == EndedBy::Timeout);
    CHECK(verdict.exit_code == 124);
    CHECK(verdict.wall_ns >= 60'000'000);
  }
}

TEST_CASE("a full disk refuses the write and keeps the old file") {
  Guest guest;
  guest.ready();
  CHECK(guest.write_file("/tmp/f", "old").code == base::Code::Ok);
  CHECK(sh(guest, "head -c " + std::to_string(limits::kFakeFileBytesMax - 1000) + " /dev/zero > /tmp/big").code == 0);
  CHECK(sh(guest, "echo x >> /tmp/big; head -c 2000 /dev/zero >> /tmp/big").verdict.signal == 25);
  const std::string bytes(3000, 'x');
  const auto result = guest.write_file("/tmp/f", bytes);
  CHECK(result.code == base::Code::Exhausted);
  CHECK(result.os_errno == ENOSPC);
  CHECK(run(guest, {"cat", "/tmp/f"}).out == "old");
}

TEST_CASE("paths that lead nowhere have the errno of Linux") {
  Guest guest;
  guest.ready();
  CHECK(guest.on_path(Operation::FileStat, "relative").os_errno == EINVAL);
  CHECK(guest.on_path(Operation::FileStat, "").os_errno == ENOENT);
  CHECK(guest.on_path(Operation::FileStat, "/etc/hostname/x").os_errno == ENOTDIR);
  CHECK(guest.on_path(Operation::FileStat, "/" + std::string(256, 'n')).os_errno == ENAMETOOLONG);
  CHECK(guest.on_path(Operation::FileStat, "/tmp/../../etc/./hostname").code == base::Code::Ok);
  CHECK(guest.on_path(Operation::FileList, "/etc/hostname").os_errno == ENOTDIR);
  CHECK(guest.on_path(Operation::FileRemove, "/", 1).os_errno == EBUSY);
  CHECK(guest.on_path(Operation::MakeDirectory, "/tmp").os_errno == EEXIST);
  CHECK(guest.on_path(Operation::MakeDirectory, "/tmp", 1).code == base::Code::Ok);
  CHECK(guest.on_path(Operation::MakeDirectory, "/a/b").os_errno == ENOENT);
  CHECK(guest.write_file("/tmp", "x").os_errno == EISDIR);
  CHECK(guest.write_file("/dev/null", "x").code == base::Code::Denied);
  CHECK(guest.call(Operation::FileRead, wire::FileReadRequest{"/tmp"}).os_errno == EISDIR);
  CHECK(guest.call(Operation::FileRename, wire::RenameRequest{"/tmp", "/tmp/x/../y"}).os_errno == EINVAL);
}

TEST_CASE("shutdown is answered and then the guest is gone") {
  Guest guest;
  guest.ready();
  CHECK_FALSE(has_ended(*guest.worker, 0));
  CHECK(guest.call(Operation::Shutdown, wire::PathRequest{}).code == base::Code::Ok);
  REQUIRE(has_ended(*guest.worker));
  CHECK(guest.worker->describe_exit() == "the fake guest powered off");
  REQUIRE(run_until(guest.loop, [&] { return guest.log.lost.has_value(); }));
}

TEST_CASE("kill ends the guest and with it the session and every command") {
  Guest guest;
  guest.ready();
  const auto yes = guest.exec({"yes"});
  guest.worker->kill();
  guest.worker->kill();
  REQUIRE(has_ended(*guest.worker));
  CHECK(guest.worker->describe_exit() == "the fake guest was killed");
  REQUIRE(run_until(guest.loop, [&] { return guest.log.lost.has_value(); }));
  CHECK(yes->result->error().code == base::Code::Disconnected);
}

TEST_CASE("ids script the failures of a fake guest") {
  SUBCASE("launch") {
    backend::LaunchPlan plan;
    plan.id = "fake-fail-launch-1";
    CHECK_FALSE(backend::make_fake_backend()->launch(plan));
  }
  SUBCASE("no hello") {
    Guest guest("fake-fail-hello");
    CHECK_FALSE(run_until(
        guest.loop, [&] { return guest.log.hello || guest.log.lost; }, std::chrono::milliseconds(50)));
    CHECK_FALSE(has_ended(*guest.worker, 0));
  }
  SUBCASE("version") {
    Guest guest("fake-bad-version");
    REQUIRE(run_until(guest.loop, [&] { return guest.log.lost.has_value(); }));
    CHECK(guest.log.lost->code == base::Code::Unsupported);
    CHECK(guest.log.lost->message.find("version 99") != std::string::npos);
  }
  SUBCASE("garbage") {
    Guest guest("fake-garbage");
    REQUIRE(run_until(guest.loop, [&] { return guest.log.lost.has_value(); }));
    CHECK(guest.log.hello);
    CHECK(guest.log.lost->code == base::Code::Corrupt);
  }
  SUBCASE("death at the first command") {
    Guest guest("fake-die-on-exec");
    guest.ready();
    CHECK(guest.write_file("/tmp/x", "fine so far").code == base::Code::Ok);
    const auto echo = guest.exec({"echo", "x"});
    REQUIRE(guest.wait(*echo));
    CHECK(echo->result->error().code == base::Code::Disconnected);
    REQUIRE(has_ended(*guest.worker));
    CHECK(guest.worker->describe_exit().find("crashed") != std::string::npos);
  }
  SUBCASE("silence") {
    Guest guest("fake-silent");
    guest.ready();
    const auto echo = guest.exec({"echo", "x"});
    CHECK_FALSE(run_until(
        guest.loop, [&] { return echo->result || guest.log.lost; }, std::chrono::milliseconds(50)));
    guest.worker->kill();
    REQUIRE(has_ended(*guest.worker));
    REQUIRE(guest.wait(*echo));
  }
}

TEST_CASE("the fake guest hangs up on a host that breaks the protocol") {
  const auto open = [](std::uint32_t id, std::string payload) { return frame_of(FrameType::Open, 0, id, payload); };
  const std::string exec = wire::encode_open(Operation::Exec, [] {
    auto request = exec_of({"cat"});
    request.stream_stdin = 1;
    return request;
  }());
  const std::string flood = [] {
    std::string out;
    for (int i = 0; i < 5; ++i) out += frame_of(FrameType::Data, 0, 1, std::string(65536, 'x'));
    return out;
  }();
  const std::string sleep = wire::encode_open(Operation::Exec, [] {
    auto request = exec_of({"sleep", "9"});
    request.stream_stdin = 1;
    return request;
  }());
  const std::string stat = wire::encode_open(Operation::FileStat, wire::PathRequest{"/", 0, 0});
  const std::pair<const char*, std::string> cases[] = {
      {"garbage", "garbage that is no frame"},
      {"a second welcome", frame_of(FrameType::Welcome, 0, 0)},
      {"hello from the host", hello_of()},
      {"stream 0", open(0, exec)},
      {"a stream of the agent's numbers", open(0x80000001, exec)},
      {"a number used twice", open(1, stat) + open(1, stat)},
      {"a number below one used", open(2, stat) + open(1, stat)},
      {"an open without an operation", open(1, "")},
      {"an exec without its request", open(1, exec.substr(0, 2))},
      {"an exec with a tail", open(1, exec + "x")},
      {"data on stdout", open(1, exec) + frame_of(FrameType::Data, 1, 1, "x")},
      {"data for a stream never opened", frame_of(FrameType::Data, 0, 1, "x")},
      {"data after end", open(1, sleep) + frame_of(FrameType::End, 0, 1) + frame_of(FrameType::Data, 0, 1, "x")},
      {"end twice", open(1, sleep) + frame_of(FrameType::End, 0, 1) + frame_of(FrameType::End, 0, 1)},
      {"more data than credit", open(1, sleep) + flood},
      {"credit overflow", open(1, sleep) + frame_of(FrameType::Credit, 1, 1, u32(0xffffffff))},
      {"a result from the host", open(1, sleep) + frame_of(FrameType::Result, 0, 1, result_of())},
      {"meta from the host", open(1, sleep) + frame_of(FrameType::Meta, 0, 1)},
  };
  for (const auto& one : cases) {
    CAPTURE(std::string(one.first));
    const std::string& bytes = one.second;
    backend::LaunchPlan plan;
    plan.id = "unit";
    auto worker = backend::make_fake_backend()->launch(plan);
    REQUIRE(worker);
    auto socket = worker.value()->connect();
    REQUIRE(socket);
    const int fd = socket.value().get();
    ::fcntl(fd, F_SETFL, 0);  // blocking: the guest is a thread of its own
    char buffer[4096];
    const ssize_t got = ::recv(fd, buffer, sizeof buffer, 0);
    REQUIRE(got > static_cast<ssize_t>(limits::kFrameHeader));
    const auto hello = wire::decode<wire::Hello>(
        {buffer + limits::kFrameHeader, static_cast<std::size_t>(got) - limits::kFrameHeader});
    REQUIRE(hello);
    wire::Welcome welcome;
    welcome.nonce = hello.value().nonce;
    const std::string all = frame_of(FrameType::Welcome, 0, 0, wire::encode(welcome)) + bytes;
    (void)::send(fd, all.data(), all.size(), MSG_NOSIGNAL);
    ssize_t count = 1;
    while (count > 0) count = ::recv(fd, buffer, sizeof buffer, 0);
    CHECK(count <= 0);  // hung up; without that the receive would wait for ever
    CHECK_FALSE(has_ended(*worker.value(), 0));
  }
}

TEST_CASE("the fake guest answers an operation of a later version with unsupported") {
  Guest guest;
  guest.ready();
  StreamLog events;
  // The session itself only opens what it knows, so this one is told at once.
  CHECK_FALSE(guest.session->open(std::string("\x63\0", 2), events));
}
