// SPDX-License-Identifier: Apache-2.0
// Directories of the host in a guest: both ways, read-only, coming and going, and what happens when their server does
// not answer. The host's side of each case is this process, in a directory of its own.
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "support.hpp"

using namespace conformance;
namespace fs = std::filesystem;

namespace {

using MountList = std::unique_ptr<sandforge_mount_list, FreeWith<sandforge_mount_list_free>>;

// A directory of the host, removed at the end; a file beside it that no guest may see.
class HostDirectory {
 public:
  HostDirectory() {
    std::string name = (fs::temp_directory_path() / "sandforge-mount-XXXXXX").string();
    REQUIRE(::mkdtemp(name.data()) != nullptr);
    top_ = name;
    path_ = top_ / "shared";
    fs::create_directory(path_);
    put("../canary", "unseen");
  }
  ~HostDirectory() {
    std::error_code ignored;
    fs::remove_all(top_, ignored);
  }
  HostDirectory(const HostDirectory&) = delete;
  HostDirectory& operator=(const HostDirectory&) = delete;

  void put(const std::string& name, std::string_view text) const { std::ofstream(path_ / name) << text; }
  std::string get(const std::string& name) const {
    std::ostringstream out;
    out << std::ifstream(path_ / name).rdbuf();
    return out.str();
  }
  const fs::path& path() const { return path_; }
  std::string text() const { return path_.string(); }

 private:
  fs::path top_, path_;
};

// A sandbox with one mount at /workspace.
class MountedGuest {
 public:
  explicit MountedGuest(const HostDirectory& host, bool read_only = false)
      : host_path_(host.text()), mount_{host_path_.c_str(), "/workspace", read_only ? 1u : 0u}, guest_(spec()) {}
  sandforge_sandbox* get() const { return guest_.get(); }

 private:
  sandforge_sandbox_spec spec() {
    sandforge_sandbox_spec spec = small_spec();
    spec.mounts = &mount_;
    spec.mount_count = 1;
    return spec;
  }
  std::string host_path_;
  sandforge_mount mount_;
  Guest guest_;
};

// What a shell in the guest says, with its exit status at the end when that is not 0.
std::string shell(sandforge_sandbox* sandbox, const std::string& script, std::int64_t timeout_ms = 60'000) {
  const Result result = run(sandbox, {.argv = {"sh", "-c", script}, .timeout_ms = timeout_ms});
  std::string out = out_of(result) + err_of(result);
  if (result->exit_code != 0) out += "[" + std::to_string(result->exit_code) + "]";
  return out;
}

sandforge_code mount(sandforge_sandbox* sandbox, const std::string& host, const char* guest, Failure& failure,
                     bool read_only = false) {
  const sandforge_mount one{host.c_str(), guest, read_only ? 1u : 0u};
  return sandforge_sandbox_mount(sandbox, &one, failure.slot());
}

MountList mounts_of(sandforge_sandbox* sandbox) {
  sandforge_mount_list* list = nullptr;
  REQUIRE(sandforge_sandbox_mounts(sandbox, &list, nullptr) == SANDFORGE_OK);
  return MountList(list);
}

// The file servers that this process has started and that live.
std::vector<pid_t> file_servers() {
  std::vector<pid_t> found;
  for (const auto& entry : fs::directory_iterator("/proc")) {
    const std::string name = entry.path().filename().string();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    std::ifstream file(entry.path() / "stat");
    std::string stat;
    std::getline(file, stat);
    const std::size_t end = stat.rfind(')');
    std::error_code unreadable;
    const std::string program = fs::read_symlink(entry.path() / "exe", unreadable).string();
    if (end == std::string::npos || program.find("sandforge-fsd") == std::string::npos) continue;
    std::istringstream rest(stat.substr(end + 1));
    char state = 0;
    pid_t parent = 0;
    rest >> state >> parent;
    if (state != 'Z') found.push_back(static_cast<pid_t>(std::stol(name)));
  }
  return found;
}

}  // namespace

TEST_CASE("a backend whose guests have no mounts says so") {
  if (!is_fake()) return;
  const HostDirectory host;
  const std::string path = host.text();
  const sandforge_mount one{path.c_str(), "/workspace", 0};
  sandforge_sandbox_spec spec = small_spec();
  spec.mounts = &one;
  spec.mount_count = 1;
  sandforge_sandbox* sandbox = nullptr;
  Failure failure;
  CHECK(sandforge_sandbox_create(engine(), &spec, &sandbox, failure.slot()) == SANDFORGE_UNSUPPORTED);
  CHECK(failure.reason() == "mounts_unsupported");
  CHECK_FALSE(failure.remedy().empty());
}

TEST_CASE("what host and guest write into a mount the other sees") {
  if (is_fake()) return;
  const HostDirectory host;
  host.put("from-host", "host");
  const MountedGuest guest(host);
  CHECK(shell(guest.get(), "cat /workspace/from-host") == "host");
  CHECK(shell(guest.get(),
              "echo guest > /workspace/from-guest; mkdir /workspace/d; echo deep > /workspace/d/e; ls /workspace | tr "
              "'\\n' ' '") == "d from-guest from-host ");
  CHECK(host.get("from-guest") == "guest\n");
  CHECK(host.get("d/e") == "deep\n");
  host.put("later", "new");
  CHECK(shell(guest.get(), "cat /workspace/later") == "new");
  host.put("from-host", "changed and longer");
  CHECK(shell(guest.get(), "sleep 1.1; cat /workspace/from-host") == "changed and longer");
  // Outside of it nothing can be had.
  CHECK(shell(guest.get(), "ls /workspace/.. | grep -c canary") == "0\n[1]");
  const Info info = info_of(guest.get());
  CHECK(info->state == SANDFORGE_STATE_READY);
  const MountList list = mounts_of(guest.get());
  REQUIRE(list->count == 1);
  CHECK(std::string(list->items[0]->guest_path) == "/workspace");
  CHECK(std::string(list->items[0]->failure).empty());
}

TEST_CASE("files of the directory's owner belong to root in the guest, and new ones to the owner on the host") {
  if (is_fake()) return;
  const HostDirectory host;
  host.put("file", "x");
  const MountedGuest guest(host);
  CHECK(shell(guest.get(), "stat -c %u:%g /workspace /workspace/file") == "0:0\n0:0\n");
  CHECK(shell(guest.get(),
              "touch /workspace/made && chown 0:0 /workspace/made && ! chown 7:7 /workspace/made 2>/dev/null") == "");
  struct stat directory {
  }, made{};
  REQUIRE(::stat(host.path().c_str(), &directory) == 0);
  REQUIRE(::stat((host.path() / "made").c_str(), &made) == 0);
  CHECK(made.st_uid == directory.st_uid);
}

TEST_CASE("a read-only mount refuses every change, and the host's files stay") {
  if (is_fake()) return;
  const HostDirectory host;
  host.put("file", "kept");
  const MountedGuest guest(host, true);
  CHECK(shell(guest.get(), "cat /workspace/file") == "kept");
  for (const char* change :
       {"echo x > /workspace/file", "touch /workspace/new", "rm /workspace/file", "mkdir /workspace/d",
        "mv /workspace/file /workspace/g", "ln -s a /workspace/l", "ln /workspace/file /workspace/h",
        "chmod 600 /workspace/file", "truncate -s 0 /workspace/file", "mount -o remount,rw /workspace"}) {
    CAPTURE(change);
    CHECK(shell(guest.get(), std::string(change) + " 2>/dev/null && echo done") != "done\n");
  }
  CHECK(host.get("file") == "kept");
  CHECK(std::distance(fs::directory_iterator(host.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("mounts come and go while commands run, which see them") {
  if (is_fake()) return;
  const HostDirectory first, second;
  first.put("name", "first");
  second.put("name", "second");
  const Guest guest;
  Process waiting =
      start(guest.get(), {.argv = {"sh", "-c", "until [ -e /a/b/name ]; do sleep 0.1; done; cat /a/b/name"}});
  Failure failure;
  REQUIRE(mount(guest.get(), first.text(), "/a/b", failure) == SANDFORGE_OK);
  REQUIRE(mount(guest.get(), second.text(), "/c/", failure, true) == SANDFORGE_OK);
  CHECK(read_all(waiting.get(), 1) == "first");
  CHECK(shell(guest.get(), "cat /c/name") == "second");
  CHECK(mounts_of(guest.get())->count == 2);
  REQUIRE(sandforge_sandbox_unmount(guest.get(), "/a/b", failure.slot()) == SANDFORGE_OK);
  CHECK(shell(guest.get(), "ls /a/b; cat /c/name") == "second");
  CHECK(mounts_of(guest.get())->count == 1);
  CHECK(sandforge_sandbox_unmount(guest.get(), "/a/b", failure.slot()) == SANDFORGE_NOT_FOUND);
  CHECK(failure.reason() == "no_mount");
  REQUIRE(mount(guest.get(), first.text(), "/a/b", failure) == SANDFORGE_OK);
  CHECK(shell(guest.get(), "cat /a/b/name") == "first");
}

TEST_CASE("a sandbox mounts and unmounts as often as it likes") {
  if (is_fake()) return;
  const HostDirectory first, second;
  first.put("name", "first");
  second.put("name", "second");
  const Guest guest;
  Failure failure;
  REQUIRE(mount(guest.get(), first.text(), "/stays", failure) == SANDFORGE_OK);
  for (int i = 0; i < 70; ++i) {  // more than a sandbox has at once
    CAPTURE(i);
    const sandforge_code mounted = mount(guest.get(), second.text(), "/goes", failure);
    CAPTURE(failure.message());
    REQUIRE(mounted == SANDFORGE_OK);
    REQUIRE(sandforge_sandbox_unmount(guest.get(), "/goes", failure.slot()) == SANDFORGE_OK);
  }
  REQUIRE(mount(guest.get(), second.text(), "/goes", failure) == SANDFORGE_OK);
  CHECK(shell(guest.get(), "cat /stays/name /goes/name") == "firstsecond");
}

TEST_CASE("programs, scripts and shared libraries run from a mount") {
  if (is_fake()) return;
  const HostDirectory host;
  const MountedGuest guest(host);
  CHECK(shell(guest.get(), "cp /bin/echo /workspace/e && /workspace/e run") == "run\n");
  CHECK(
      shell(guest.get(), "printf '#!/bin/sh\\necho script' > /workspace/s && chmod +x /workspace/s && /workspace/s") ==
      "script\n");
  CHECK(
      shell(
          guest.get(),
          "cp $(ldd /bin/echo | grep -o '/[^ ]*libc.so.6') /workspace/ && LD_LIBRARY_PATH=/workspace /bin/echo lib") ==
      "lib\n");
}

TEST_CASE("git clones, looks and commits on a mount") {
  if (is_fake()) return;
  const HostDirectory host;
  const MountedGuest guest(host);
  const std::string out = shell(
      guest.get(),
      "set -e; cd /workspace; export HOME=/workspace GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a "
      "GIT_COMMITTER_EMAIL=a@b; git init -q --bare bare.git; git clone -q bare.git tree 2>/dev/null; cd tree; "
      "for i in $(seq 50); do echo $i > f$i; done; git add .; git commit -qm one; git push -q origin HEAD 2>/dev/null; "
      "git status --short | wc -l; git log --oneline | wc -l; cd ..; git clone -q bare.git again; ls again | wc -l",
      240'000);
  CHECK(out == "0\n1\n50\n");
}

TEST_CASE("files on a mount behave as those of a local file system") {
  if (is_fake()) return;
  const HostDirectory host;
  const MountedGuest guest(host);
  write_file(guest.get(), "/tmp/check.py", R"(import fcntl, mmap, os, errno
os.chdir("/workspace")
with open("a", "w") as f: f.write("old")
with open("b", "w") as f: f.write("new")
os.rename("b", "a"); assert open("a").read() == "new" and not os.path.exists("b")
f = open("a", "r+"); os.unlink("a"); f.write("gone"); f.flush(); f.seek(0); assert f.read() == "gone"; f.close()
with open("m", "wb") as f: f.truncate(8192)
fd = os.open("m", os.O_RDWR)
shared = mmap.mmap(fd, 8192); shared[4096:4100] = b"page"; shared.flush()
assert os.pread(fd, 4, 4096) == b"page"
private = mmap.mmap(fd, 8192, flags=mmap.MAP_PRIVATE); private[0:4] = b"mine"; assert os.pread(fd, 4, 0) == b"\0" * 4
fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
other = os.open("m", os.O_RDWR)
try: fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB); raise SystemExit("locked twice")
except BlockingIOError: pass
fcntl.lockf(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
os.ftruncate(fd, 2 << 30); os.pwrite(fd, b"end", (2 << 30) - 3); assert os.fstat(fd).st_blocks < 4096
os.symlink("m", "l"); assert os.readlink("l") == "m" and os.stat("l").st_size == 2 << 30
os.link("m", "h"); assert os.stat("h").st_nlink == 2
os.makedirs("d/e"); os.rename("d/e", "d/f"); os.rmdir("d/f")
for i in range(500): open(f"d/{i}", "w").close()
assert len(os.listdir("d")) == 500
try: os.close(os.open(".", os.O_TMPFILE | os.O_RDWR))
except OSError as e: assert e.errno in (errno.EOPNOTSUPP, errno.EISDIR), e
os.utime("m", ns=(1_000_000_007, 2_000_000_009)); assert os.stat("m").st_mtime_ns == 2_000_000_009
os.chmod("m", 0o751); assert os.stat("m").st_mode & 0o7777 == 0o751
print("fine")
)");
  CHECK(shell(guest.get(), "python3 /tmp/check.py", 120'000) == "fine\n");
}

TEST_CASE("what cannot be mounted is refused with its reason and a remedy") {
  if (is_fake()) return;
  const HostDirectory host, other;
  host.put("file", "x");
  fs::create_directory_symlink("/proc", host.path() / "to-proc");
  const Guest guest;
  Failure failure;
  REQUIRE(mount(guest.get(), other.text(), "/taken/here", failure) == SANDFORGE_OK);
  struct Row {
    std::string host;
    const char* guest;
    sandforge_code code;
  };
  const Row rows[] = {
      {host.text() + "/none", "/x", SANDFORGE_NOT_FOUND},
      {host.text() + "/file", "/x", SANDFORGE_INVALID_ARGUMENT},
      {host.text() + "/to-proc", "/x", SANDFORGE_DENIED},
      {"relative", "/x", SANDFORGE_INVALID_ARGUMENT},
      {"", "/x", SANDFORGE_INVALID_ARGUMENT},
      {"/", "/x", SANDFORGE_DENIED},
      {"/proc", "/x", SANDFORGE_DENIED},
      {"/etc", "/x", SANDFORGE_DENIED},
      {host.text(), "x", SANDFORGE_INVALID_ARGUMENT},
      {host.text(), "", SANDFORGE_INVALID_ARGUMENT},
      {host.text(), "/", SANDFORGE_INVALID_ARGUMENT},
      {host.text(), "/proc/x", SANDFORGE_INVALID_ARGUMENT},
      {host.text(), "/a/../b", SANDFORGE_INVALID_ARGUMENT},
  };
  for (const Row& row : rows) {
    CAPTURE(row.host);
    CAPTURE(row.guest);
    CHECK(mount(guest.get(), row.host, row.guest, failure) == row.code);
    CAPTURE(failure.message());
    CHECK_FALSE(failure.reason().empty());
    CHECK_FALSE(failure.remedy().empty());
  }
  CHECK(mount(guest.get(), other.text(), "/elsewhere", failure) == SANDFORGE_INVALID_ARGUMENT);
  for (const char* overlap : {"/taken/here", "/taken/here/below", "/taken"}) {
    CAPTURE(overlap);
    CHECK(mount(guest.get(), host.text(), overlap, failure) != SANDFORGE_OK);
  }
  CHECK(mounts_of(guest.get())->count == 1);
  CHECK(shell(guest.get(), "ls -A /taken/here") == "");
}

TEST_CASE("a file server that is killed costs its mounts and nothing else") {
  if (is_fake()) return;
  const HostDirectory host;
  host.put("file", "x");
  const auto before = file_servers();
  const MountedGuest guest(host);
  CHECK(shell(guest.get(), "cat /workspace/file") == "x");
  Process reading =
      start(guest.get(), {.argv = {"sh", "-c", "while cat /workspace/file; do sleep 0.05; done >/dev/null 2>&1"}});
  for (const pid_t pid : file_servers()) {
    if (std::find(before.begin(), before.end(), pid) == before.end()) REQUIRE(::kill(pid, SIGKILL) == 0);
  }
  CHECK(wait_for(reading.get())->ended_by == SANDFORGE_ENDED_BY_EXIT);
  CHECK(shell(guest.get(), "cat /workspace/file 2>/dev/null || echo lost") == "lost\n");
  CHECK(shell(guest.get(), "echo alive") == "alive\n");
  const MountList list = mounts_of(guest.get());
  REQUIRE(list->count == 1);
  CHECK_FALSE(std::string(list->items[0]->failure).empty());
}

TEST_CASE("a file server that stands still holds up no command beyond its time-out") {
  if (is_fake()) return;
  const HostDirectory host;
  host.put("file", "x");
  const auto before = file_servers();
  const MountedGuest guest(host);
  for (const pid_t pid : file_servers()) {
    if (std::find(before.begin(), before.end(), pid) == before.end()) REQUIRE(::kill(pid, SIGSTOP) == 0);
  }
  const auto begin = std::chrono::steady_clock::now();
  const Result result = run(guest.get(), {.argv = {"cat", "/workspace/file"}, .timeout_ms = 1000});
  CHECK(result->ended_by == SANDFORGE_ENDED_BY_TIMEOUT);
  CHECK(std::string(result->reason).find("/workspace") != std::string::npos);
  CHECK(std::chrono::steady_clock::now() - begin < std::chrono::seconds(30));
  CHECK(shell(guest.get(), "echo alive") == "alive\n");
}
