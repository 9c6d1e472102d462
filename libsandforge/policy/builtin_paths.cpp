// SPDX-License-Identifier: Apache-2.0
#include "policy/builtin_paths.hpp"

#include <algorithm>
#include <array>

#include "policy/host_path.hpp"

namespace sandforge::policy {
namespace {

using Names = std::string_view;

constexpr std::array<Names, 3> kKernel = {"/proc", "/sys", "/dev"};

constexpr std::array<Names, 18> kSystem = {
    "/etc", "/usr", "/bin", "/sbin", "/lib",    "/lib32",   "/lib64",        "/libx32",  "/boot",
    "/efi", "/var", "/run", "/root", "/System", "/Library", "/Applications", "/private", "/lost+found",
};
// Places in those where users keep things: temporary files, and homes on hosts with an immutable root.
constexpr std::array<Names, 7> kExempt = {
    "/var/tmp", "/var/home", "/root", "/private/tmp", "/private/var/tmp", "/private/var/folders", "/run/media"};

constexpr std::array<Names, 11> kShared = {"/tmp",         "/var/tmp",         "/home",     "/var/home",
                                           "/export/home", "/Users",           "/mnt",      "/media",
                                           "/private/tmp", "/private/var/tmp", "/run/media"};

constexpr std::array<Names, 2> kState = {"/var/lib/sandforge", "/etc/sandforge"};

constexpr std::array<Names, 15> kSockets = {
    "/run/docker.sock", "/var/run/docker.sock", "/run/docker",    "/run/podman",         "/run/containerd",
    "/run/crio",        "/run/libvirt",         "/run/lxd",       "/run/incus",          "/run/user",
    "/run/dbus",        "/run/systemd",         "/run/sandforge", "/run/sandforge.sock", "/var/snap/lxd",
};

constexpr std::array<Names, 14> kCredentials = {
    "/run/secrets",     "/var/run/secrets",    "/run/credentials", "/etc/ssh",           "/etc/shadow",
    "/etc/gshadow",     "/etc/sudoers",        "/etc/sudoers.d",   "/etc/ssl/private",   "/etc/kubernetes",
    "/etc/krb5.keytab", "/etc/NetworkManager", "/var/lib/kubelet", "/Library/Keychains",
};

// Below every home. Files are here for what contains them: only directories are mounted.
constexpr std::array<Names, 61> kHomeCredentials = {
    ".ssh",
    ".gnupg",
    ".pki",
    ".netrc",
    ".authinfo",
    ".git-credentials",
    ".password-store",
    ".aws",
    ".azure",
    ".boto",
    ".oci",
    ".kube",
    ".docker",
    ".minikube",
    ".vault-token",
    ".terraform.d",
    ".terraformrc",
    ".fly",
    ".npmrc",
    ".yarnrc.yml",
    ".pypirc",
    ".gem/credentials",
    ".cargo/credentials",
    ".cargo/credentials.toml",
    ".m2/settings.xml",
    ".gradle/gradle.properties",
    ".pgpass",
    ".my.cnf",
    ".mozilla",
    ".thunderbird",
    ".electrum",
    ".bitcoin",
    ".config/gcloud",
    ".config/gh",
    ".config/hub",
    ".config/glab-cli",
    ".config/git/credentials",
    ".config/doctl",
    ".config/op",
    ".config/sops",
    ".config/age",
    ".config/rclone",
    ".config/containers",
    ".config/helm",
    ".config/chromium",
    ".config/google-chrome",
    ".config/BraveSoftware",
    ".config/microsoft-edge",
    ".config/vivaldi",
    ".config/opera",
    ".config/keepassxc",
    ".config/Bitwarden",
    ".config/1Password",
    ".config/Signal",
    ".config/systemd",
    ".local/share/keyrings",
    ".local/share/kwalletd",
    ".local/share/containers",
    "snap/firefox",
    "snap/chromium",
    "Library",
};

// Credentials wherever they lie: homes that nothing tells about, copies, backups.
constexpr std::array<Names, 6> kCredentialNames = {".ssh", ".gnupg", ".aws", ".azure", ".kube", ".password-store"};

constexpr std::array<Names, 4> kHomeParents = {"/home", "/var/home", "/export/home", "/Users"};

class Collector {
 public:
  // `path` is where it leads too when `follow`.
  void add(Names path, Kind kind, bool with_contents, bool follow) {
    std::string text = cleaned(path);
    if (follow) {
      if (std::string real = resolved_or_same(text); real != text)
        all_.push_back({std::move(real), kind, with_contents});
    }
    all_.push_back({std::move(text), kind, with_contents});
  }
  template <typename Paths>
  void add_all(const Paths& paths, Kind kind, bool with_contents, bool follow) {
    for (const auto& path : paths) add(path, kind, with_contents, follow);
  }
  // Homes of others are not looked at: that might wait for a server, and tells nothing that their names do not.
  void add_home(const std::string& home, bool follow) {
    const std::string place = follow ? resolved_or_same(cleaned(home)) : cleaned(home);
    if (place == "/") return;  // the home of a user who has none
    add(place, Kind::Credentials, false, false);
    for (const Names name : kHomeCredentials) add(place + "/" + std::string(name), Kind::Credentials, true, follow);
  }
  std::vector<Blocked> take() {
    std::stable_sort(all_.begin(), all_.end(), [](const Blocked& a, const Blocked& b) { return a.kind < b.kind; });
    return std::move(all_);
  }

 private:
  std::vector<Blocked> all_;
};

}  // namespace

const char* rule_of(Kind kind) noexcept {
  switch (kind) {
    case Kind::Listed: return "mounts.block";
    case Kind::State: return "mounts.builtin.state";
    case Kind::Kernel: return "mounts.builtin.kernel";
    case Kind::Sockets: return "mounts.builtin.sockets";
    case Kind::Credentials: return "mounts.builtin.credentials";
    case Kind::System: return "mounts.builtin.system";
    case Kind::Shared: return "mounts.builtin.shared";
    case Kind::Private: return "mounts.builtin.private";
  }
  return "mounts.builtin";
}

std::vector<Blocked> blocked_paths(const Policy& policy, const Words& more_homes) {
  Collector all;
  all.add_all(policy.block.value, Kind::Listed, true, true);
  all.add_all(policy.host.state, Kind::State, true, true);
  all.add_all(kState, Kind::State, true, true);
  all.add("/", Kind::Kernel, false, false);
  all.add_all(kKernel, Kind::Kernel, true, false);
  all.add_all(kSockets, Kind::Sockets, true, true);
  all.add_all(kCredentials, Kind::Credentials, true, true);
  for (const std::string& home : policy.host.own_homes) all.add_home(home, true);
  for (const std::string& home : policy.host.other_homes) all.add_home(home, false);
  for (const std::string& home : more_homes) all.add_home(home, false);
  all.add_all(kSystem, Kind::System, true, true);
  all.add_all(kShared, Kind::Shared, false, true);
  return all.take();
}

std::string home_by_place(std::string_view path) {
  for (const Names parent : kHomeParents) {
    if (!is_strictly_within(path, parent)) continue;
    const std::size_t end = path.find('/', parent.size() + 1);
    return std::string(path.substr(0, end));
  }
  return {};
}

bool is_exempt(std::string_view path) noexcept {
  return std::any_of(kExempt.begin(), kExempt.end(), [&](Names place) { return is_strictly_within(path, place); });
}

std::string credential_component(std::string_view path) {
  for (std::size_t begin = 1; begin < path.size();) {
    const std::size_t end = std::min(path.find('/', begin), path.size());
    const std::string_view name = path.substr(begin, end - begin);
    if (std::find(kCredentialNames.begin(), kCredentialNames.end(), name) != kCredentialNames.end()) {
      return std::string(path.substr(0, end));
    }
    begin = end + 1;
  }
  return {};
}

}  // namespace sandforge::policy
