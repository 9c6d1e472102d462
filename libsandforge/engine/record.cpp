// SPDX-License-Identifier: Apache-2.0
#include "engine/record.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include "base/unique_fd.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {
namespace {

// A TOML basic string.
std::string toml_string(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out += c;
    }
  }
  return out + '"';
}

std::string record_text(const SandboxInfo& info) {
  const SandboxSpec& spec = info.spec;
  return fmt::format(
      "version = 1\nid = {}\nbackend = {}\nisolation = {}\nstate = {}\nimage = {}\nimage_digest = {}\n"
      "network_mode = {}\ntask_isolation = {}\ncpu = {}\nmemory_mb = {}\ndisk_gb = {}\ntimeout_sec = {}\n"
      "created_at = {}\nexpires_at = {}\nfailure = {}\nfailure_reason = {}\n",
      toml_string(spec.id), toml_string(spec.backend), toml_string(isolation_name(info.isolation)),
      toml_string(state_name(info.state)), toml_string(spec.image), toml_string(info.image_digest),
      toml_string(spec.network_mode), toml_string(spec.task_isolation), spec.cpu, spec.memory_mb, spec.disk_gb,
      spec.timeout_sec, info.created_at, info.expires_at, toml_string(info.failure), toml_string(info.failure_reason));
}

}  // namespace

base::Status write_record(const std::filesystem::path& directory, const SandboxInfo& info) {
  const std::string text = record_text(info);
  const auto fresh = directory / "record.toml.new";
  const base::UniqueFd fd(::open(fresh.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600));
  if (!fd) return errno == ENOENT ? base::Status{} : base::os_error("cannot write " + fresh.string());
  std::string_view rest = text;
  while (!rest.empty()) {
    const ssize_t written = ::write(fd.get(), rest.data(), rest.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return base::os_error("cannot write " + fresh.string(), written < 0 ? errno : ENOSPC);
    rest.remove_prefix(static_cast<std::size_t>(written));
  }
  if (::rename(fresh.c_str(), (directory / kRecordName).c_str()) != 0) {
    return base::os_error("cannot replace " + (directory / kRecordName).string());
  }
  return {};
}

}  // namespace sandforge::engine
