// SPDX-License-Identifier: Apache-2.0
// Which directories of a host may be mounted: tables over a small host of our own, and over the real one.
#include <doctest/doctest.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "policy/builtin_paths.hpp"
#include "policy/evaluate.hpp"

using namespace sandforge::policy;
namespace fs = std::filesystem;

namespace {

// A host in a temporary directory, "$T" in the tables: homes, a state directory, shared data, and ways around them.
class SmallHost {
 public:
  SmallHost() {
    std::string pattern = (fs::temp_directory_path() / "sandforge-policy-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    root_ = fs::canonical(pattern);
    for (const char* directory : {"home/u/src/app/deep",
                                  "home/u/src/a b",
                                  "home/u/.ssh/keys",
                                  "home/u/.aws",
                                  "home/u/.config/gcloud/logs",
                                  "home/u/.config/app",
                                  "home/u/.cache/pip",
                                  "home/u/.local/share/keyrings",
                                  "home/u/.mozilla/firefox",
                                  "home/u/snap/firefox/common",
                                  "home/u/snap/tool",
                                  "home/u/Library/Keychains",
                                  "home/u2/src",
                                  "home/other/src",
                                  "home/other/.gnupg",
                                  "backup/.ssh/id",
                                  "backup/.sshd",
                                  "srv/ref/data",
                                  "srv/secret/x",
                                  "srv/secret2",
                                  "srv/pub",
                                  "real/target",
                                  "state/sandboxes",
                                  "state2",
                                  "images",
                                  "daemon/sub"}) {
      fs::create_directories(root_ / directory);
    }
    std::ofstream(root_ / "file") << "text";
    std::ofstream(root_ / "daemon/tokens") << "secret";
    REQUIRE(::mkfifo((root_ / "fifo").c_str(), 0600) == 0);
    link("home/u/.ssh", "to_ssh");
    link("home/u/src", "to_src");
    link("home/u", "to_home");
    link("state", "to_state");
    link("srv/secret", "home/u/src/to_secret");
    link("srv/pub", "srv/ref/to_pub");
    link("file", "to_file");
    link("nothing", "to_nothing");
    link("loop", "loop");
    link("loop_b", "loop_a");
    link("loop_a", "loop_b");
    fs::create_directory_symlink("/etc", root_ / "to_etc");
    fs::create_directory_symlink("/", root_ / "to_root");
    fs::create_directory_symlink("/proc/self/root", root_ / "to_proc_root");
    link("real/target", "srv/linked");
  }
  ~SmallHost() {
    std::error_code ignored;
    fs::remove_all(root_, ignored);
  }
  SmallHost(const SmallHost&) = delete;
  SmallHost& operator=(const SmallHost&) = delete;

  std::string path(std::string_view text) const {
    return text.starts_with("$T") ? root_.string() + std::string(text.substr(2)) : std::string(text);
  }
  // Of a user whose number is `uid`; what the small host holds belongs to whoever runs the test.
  Policy policy(Audience audience, uid_t uid) const {
    Policy policy = defaults(audience);
    policy.host.uid = uid;
    policy.host.own_homes = {path("$T/home/u")};
    policy.host.other_homes = {path("$T/home/other")};
    policy.host.state = {path("$T/state"), path("$T/images"), path("$T/daemon/tokens")};
    return policy;
  }

 private:
  void link(const char* target, const char* name) { fs::create_directory_symlink(root_ / target, root_ / name); }
  fs::path root_;
};

struct Row {
  const char* path;
  const char* word;  // "allowed", or the machine word of the refusal
  const char* rule;
  bool read_only = false;
};

void check_rows(const SmallHost& host, const Policy& policy, std::initializer_list<Row> rows) {
  for (const Row& row : rows) {
    const MountVerdict result = evaluate_mount(policy, host.path(row.path), row.read_only);
    const Verdict& verdict = result.verdict;
    const std::string shown = row.path;
    CAPTURE(shown);
    CAPTURE(verdict.reason);
    CHECK((verdict.allowed ? "allowed" : verdict.word) == row.word);
    CHECK(verdict.rule == row.rule);
    CHECK_FALSE(verdict.reason.empty());
    CHECK(verdict.remedy.empty() == verdict.allowed);
    CHECK(result.directory.path.empty() == !verdict.allowed);
  }
}

constexpr const char* kDenied = "policy_denied";
constexpr const char* kOwn = "mounts.own_directories";
constexpr const char* kCredentials = "mounts.builtin.credentials";
constexpr const char* kSystem = "mounts.builtin.system";
constexpr const char* kKernel = "mounts.builtin.kernel";
constexpr const char* kState = "mounts.builtin.state";
constexpr const char* kShared = "mounts.builtin.shared";
constexpr const char* kPrivate = "mounts.builtin.private";
constexpr const char* kInput = "mounts.host_path";
constexpr const char* kInvalid = "invalid_host_path";
constexpr uid_t kStranger = 54321;

}  // namespace

TEST_CASE("a path that is no directory of the host is refused by what is wrong with it") {
  const SmallHost host;
  const std::string long_path = "/" + std::string(5000, 'x'), long_name = host.path("$T/") + std::string(300, 'x');
  check_rows(host, host.policy(Audience::Library, ::geteuid()),
             {{"", kInvalid, kInput},
              {"src", kInvalid, kInput},
              {"./src", kInvalid, kInput},
              {"~/src", kInvalid, kInput},
              {"../src", kInvalid, kInput},
              {"$T/home/u/src/..", kInvalid, kInput},
              {"$T/home/u/../u/src", kInvalid, kInput},
              {"/..", kInvalid, kInput},
              {"$T/home/u/src/...", "host_path_missing", kInput},
              {"$T/missing", "host_path_missing", kInput},
              {"$T/missing/below", "host_path_missing", kInput},
              {"$T/to_nothing", "host_path_missing", kInput},
              {"$T/file", kInvalid, kInput},
              {"$T/file/", kInvalid, kInput},
              {"$T/file/below", kInvalid, kInput},
              {"$T/to_file", kInvalid, kInput},
              {"$T/fifo", kInvalid, kInput},
              {"/dev/null", kInvalid, kInput},
              {"$T/loop", kInvalid, kInput},
              {"$T/loop_a/x", kInvalid, kInput},
              {long_path.c_str(), kInvalid, kInput},
              {long_name.c_str(), kInvalid, kInput}});
  using namespace std::string_literals;
  const Verdict nul = evaluate_mount(host.policy(Audience::Library, 0), "/tmp\0/x"s, true).verdict;
  CHECK(nul.word == kInvalid);
  CHECK(nul.reason.find("NUL") != std::string::npos);
}

TEST_CASE("the user's own directories are allowed without a word, and what holds secrets is not") {
  const SmallHost host;
  check_rows(host, host.policy(Audience::Library, ::geteuid()),
             {{"$T/home/u/src", "allowed", kOwn},
              {"$T/home/u/src/", "allowed", kOwn},
              {"$T//home/./u//src/.", "allowed", kOwn},
              {"$T/home/u/src/app/deep", "allowed", kOwn, true},
              {"$T/home/u/src/a b", "allowed", kOwn},
              {"$T/to_src", "allowed", kOwn},
              {"$T/to_src/app", "allowed", kOwn},
              {"$T/to_home/src", "allowed", kOwn},
              {"$T/home/u/snap/tool", "allowed", kOwn},
              {"$T/home/u2", "allowed", kOwn},  // not the home of anybody, though its name begins like one
              {"$T/home/u2/src", "allowed", kOwn},
              {"$T/srv/pub", "allowed", kOwn},
              {"$T/state2", "allowed", kOwn},
              {"$T/backup/.sshd", "allowed", kOwn},
              {"$T/daemon/sub", "allowed", kOwn},
              // Credentials: themselves, in them, above them, by symlink, read-only or not.
              {"$T/home/u/.ssh", kDenied, kCredentials},
              {"$T/home/u/.ssh", kDenied, kCredentials, true},
              {"$T/home/u/.ssh/keys", kDenied, kCredentials},
              {"$T/to_ssh", kDenied, kCredentials},
              {"$T/to_ssh/keys", kDenied, kCredentials},
              {"$T/to_home/.ssh", kDenied, kCredentials},
              {"$T/home/u/.aws", kDenied, kCredentials},
              {"$T/home/u/.config/gcloud", kDenied, kCredentials},
              {"$T/home/u/.config/gcloud/logs", kDenied, kCredentials},
              {"$T/home/u/.config", kDenied, kCredentials},
              {"$T/home/u/.local/share", kDenied, kCredentials},
              {"$T/home/u/.local/share/keyrings", kDenied, kCredentials},
              {"$T/home/u/.mozilla/firefox", kDenied, kCredentials},
              {"$T/home/u/snap", kDenied, kCredentials},
              {"$T/home/u/snap/firefox/common", kDenied, kCredentials},
              {"$T/home/u/Library/Keychains", kDenied, kCredentials},
              {"$T/home/u", kDenied, kCredentials},
              {"$T/home/u", kDenied, kCredentials, true},
              {"$T/to_home", kDenied, kCredentials},
              {"$T/home", kDenied, kCredentials},
              {"$T/home/other", kDenied, kCredentials},
              {"$T/home/other/.gnupg", kDenied, kCredentials},
              {"$T/backup/.ssh", kDenied, kCredentials},
              {"$T/backup/.ssh/id", kDenied, kCredentials},
              // Settings and caches of programs.
              {"$T/home/u/.config/app", kDenied, kPrivate},
              {"$T/home/u/.cache", kDenied, kPrivate},
              {"$T/home/u/.cache/pip", kDenied, kPrivate},
              // The engine's own, and what contains it.
              {"$T/state", kDenied, kState},
              {"$T/state/sandboxes", kDenied, kState},
              {"$T/to_state", kDenied, kState},
              {"$T/to_state/sandboxes", kDenied, kState},
              {"$T/images", kDenied, kState},
              {"$T/daemon", kDenied, kState},
              {"$T", kDenied, kState}});
}

TEST_CASE("the host's own directories are refused whoever asks, by any way") {
  const SmallHost host;
  check_rows(host, host.policy(Audience::Loopback, ::geteuid()),
             {{"/", kDenied, kKernel},
              {"//", kDenied, kKernel},
              {"/.", kDenied, kKernel},
              {"$T/to_root", kDenied, kKernel},
              {"$T/to_proc_root", kDenied, kKernel},
              {"/proc", kDenied, kKernel},
              {"/proc/self", kDenied, kKernel},
              {"/proc/self/fd", kDenied, kKernel},
              {"/sys", kDenied, kKernel},
              {"/sys/kernel", kDenied, kKernel},
              {"/dev", kDenied, kKernel},
              {"/dev/shm", kDenied, kKernel},
              {"/etc", kDenied, kSystem},
              {"$T/to_etc", kDenied, kSystem},
              {"/usr", kDenied, kSystem},
              {"/usr/bin", kDenied, kSystem},
              {"/usr/share", kDenied, kSystem, true},
              {"/bin", kDenied, kSystem},
              {"/sbin", kDenied, kSystem},
              {"/lib", kDenied, kSystem},
              {"/boot", kDenied, kSystem},
              {"/var/log", kDenied, kSystem},
              {"/var/lib", kDenied, kSystem},
              {"/tmp", kDenied, kShared},
              {"/var/tmp", kDenied, kSystem},
              {"/home", kDenied, kShared}});
}

TEST_CASE("directories of somebody else are not own, and a home is one's own whoever made what is in it") {
  const SmallHost host;
  check_rows(host, host.policy(Audience::Library, kStranger),
             {{"$T/home/u/src", "allowed", kOwn},
              {"$T/to_src", "allowed", kOwn},
              {"$T/srv/pub", kDenied, kOwn},
              {"$T/home/u2", kDenied, kOwn},
              {"$T/home/other/src", kDenied, kOwn},
              {"$T/home/u/.ssh", kDenied, kCredentials},
              {"/usr", kDenied, kSystem}});
}

TEST_CASE("a list allows what lies in it, a block wins over it, and reading only is kept to") {
  const SmallHost host;
  Policy policy = host.policy(Audience::Loopback, kStranger);
  policy.allow.value = {host.path("$T/srv"), host.path("$T/srv/linked")};
  policy.allow_read_only.value = {host.path("$T/srv/ref"), "/usr/share"};
  policy.block.value = {host.path("$T/srv/secret"), host.path("$T/not_there")};
  check_rows(host, policy,
             {{"$T/srv/pub", "allowed", "mounts.allow"},
              {"$T/srv/linked", "allowed", "mounts.allow"},  // leads out of the list, but is itself listed
              {"$T/real/target", "allowed", "mounts.allow"},
              {"$T/real", kDenied, kOwn},
              {"$T/srv/secret", kDenied, "mounts.block"},
              {"$T/srv/secret/x", kDenied, "mounts.block"},
              {"$T/srv/secret", kDenied, "mounts.block", true},
              {"$T/home/u/src/to_secret", kDenied, "mounts.block"},
              {"$T/srv/secret2", "allowed", "mounts.allow"},
              {"$T/srv", kDenied, "mounts.block"},  // contains what is blocked
              {"$T/srv", kDenied, "mounts.block", true},
              {"$T/srv/ref", kDenied, "mounts.allow_read_only"},
              {"$T/srv/ref", "allowed", "mounts.allow_read_only", true},
              {"$T/srv/ref/data", kDenied, "mounts.allow_read_only"},
              {"$T/srv/ref/to_pub", "allowed", "mounts.allow"},  // judged by where it leads
              {"/usr/share", "allowed", "mounts.allow_read_only", true},
              {"/usr/share", kDenied, "mounts.allow_read_only"},
              {"/usr", kDenied, kSystem, true},
              {"/usr/lib", kDenied, kSystem, true},
              {"$T/home/u/src", "allowed", kOwn}});
  policy.block.value.clear();
  check_rows(host, policy,
             {{"$T/srv", kDenied, "mounts.allow_read_only"}, {"$T/srv", "allowed", "mounts.allow", true}});
}

TEST_CASE("a list lifts built-in rules only as far as it must be meant to") {
  const SmallHost host;
  Policy policy = host.policy(Audience::Library, kStranger);
  policy.allow.value = {"/", host.path("$T/home/u"), host.path("$T/home/u/.cache"), "/usr/share", "/tmp"};
  check_rows(host, policy,
             {{"$T/home/u", kDenied, kCredentials},
              {"$T/home/u/.ssh", kDenied, kCredentials},
              {"$T/home/u/.cache/pip", "allowed", "mounts.allow"},
              {"$T/home/u/.config/app", kDenied, kPrivate},
              {"$T/srv/pub", "allowed", "mounts.allow"},
              {"$T/state", kDenied, kState},
              {"/usr/share", "allowed", "mounts.allow"},
              {"/usr/bin", kDenied, kSystem},
              {"/proc", kDenied, kKernel},
              {"/", kDenied, kKernel}});
  policy.allow_credentials.value = {host.path("$T/home/u")};
  check_rows(host, policy,
             {{"$T/home/u", "allowed", "mounts.allow"},
              {"$T/home/u/.ssh", "allowed", "mounts.allow"},
              {"$T/home/other", kDenied, kCredentials},
              {"$T/home", kDenied, kCredentials},
              {"$T/backup/.ssh", kDenied, kCredentials}});
}

TEST_CASE("whoever comes from elsewhere gets listed directories, and does not learn what else there is") {
  const SmallHost host;
  Policy policy = host.policy(Audience::Remote, ::geteuid());
  check_rows(host, policy,
             {{"$T/home/u/src", kDenied, "mounts.allow"},
              {"$T/missing", kDenied, "mounts.allow"},
              {"$T/file", kDenied, "mounts.allow"},
              {"$T/loop", kDenied, "mounts.allow"},
              {"/proc", kDenied, "mounts.allow"},
              {"src", kInvalid, kInput}});
  policy.allow.value = {host.path("$T/srv"), host.path("$T/to_src")};
  check_rows(host, policy,
             {{"$T/srv/pub", "allowed", "mounts.allow"},
              {"$T/srv", "allowed", "mounts.allow"},
              {"$T/srv/missing", "host_path_missing", kInput},
              {"$T/srv/linked", kDenied, "mounts.allow"},  // leads out
              {"$T/srv2", kDenied, "mounts.allow"},
              {"$T/to_src", "allowed", "mounts.allow"},
              {"$T/home/u/src", "allowed", "mounts.allow"},
              {"$T/to_home/src", kDenied, "mounts.allow"},  // leads into the list, but by an unlisted way
              {"$T/missing", kDenied, "mounts.allow"}});
}

TEST_CASE("homes are known by their place even where nobody lists them") {
  CHECK(home_by_place("/home/u/src") == "/home/u");
  CHECK(home_by_place("/home/u") == "/home/u");
  CHECK(home_by_place("/var/home/u/x") == "/var/home/u");
  CHECK(home_by_place("/Users/u/x") == "/Users/u");
  CHECK(home_by_place("/home").empty());
  CHECK(home_by_place("/homes/u").empty());
}

TEST_CASE("paths are compared by component") {
  CHECK(is_within("/home/u", "/home/u"));
  CHECK(is_within("/home/u/x", "/home/u"));
  CHECK_FALSE(is_within("/home/user2", "/home/u"));
  CHECK_FALSE(is_within("/home", "/home/u"));
  CHECK(is_within("/x", "/"));
  CHECK_FALSE(is_strictly_within("/home/u", "/home/u"));
  CHECK(cleaned("//a/./b//") == "/a/b");
  CHECK(cleaned("/") == "/");
  CHECK(cleaned("/.") == "/");
  CHECK(cleaned("/a/.b/...") == "/a/.b/...");
}

TEST_CASE("a verdict names the very directory that was judged") {
  const SmallHost host;
  const auto result = evaluate_mount(host.policy(Audience::Library, ::geteuid()), host.path("$T/to_src"), false);
  REQUIRE(result.verdict.allowed);
  CHECK(result.directory.path == host.path("$T/home/u/src"));
  struct stat info {};
  REQUIRE(::stat(host.path("$T/home/u/src").c_str(), &info) == 0);
  CHECK(result.directory.device == info.st_dev);
  CHECK(result.directory.inode == info.st_ino);
}
