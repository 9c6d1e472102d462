// SPDX-License-Identifier: Apache-2.0
// make_initrd: what the kernel unpacks before it starts the agent.

#include "base/limits.hpp"
#include "image/cpio.hpp"
#include "image/digest.hpp"
#include "image/store.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

std::string agent_archive(std::string_view agent) {
  CpioWriter archive;
  for (const char* directory : {"dev", "newroot", "proc", "run", "sys"}) archive.directory(directory);
  // The kernel opens /dev/console for PID 1 before anything is mounted.
  archive.character_device("dev/console", 5, 1);
  archive.character_device("dev/null", 1, 3, 0666);
  archive.file("init", agent, 0755);
  return std::move(archive).finish();
}

}  // namespace

base::Result<fs::path> make_initrd(const BootFiles& files, const fs::path& agent_binary, const fs::path& cache_dir) {
  SANDFORGE_TRY(const std::string agent, read_file(agent_binary, limits::kAgentBytesMax));
  // Blobs are named by their digest, so the name stands for the content. The first line changes with the layout above
  // and the mode below.
  const std::string key = sha256_of("initrd 2\n" + sha256_of(agent) + "\n" + files.modules.filename().string() + "\n");
  const fs::path path = cache_dir / ("initrd-" + std::string(hex_of(key)) + ".cpio");
  const std::string archive = agent_archive(agent);
  SANDFORGE_TRY(const std::uint64_t modules_bytes, file_bytes(files.modules));
  // One that was cut short since (a full disk, a crash of the host) is made anew.
  if (const auto present = file_bytes(path); present && present.value() == archive.size() + modules_bytes) return path;

  SANDFORGE_TRY(const std::string modules, read_file(files.modules, limits::kModulesBytesMax));
  SANDFORGE_TRY_STATUS(make_dirs(cache_dir));
  // For everybody to read: QEMU opens it anew as a user id of its own.
  SANDFORGE_TRY_STATUS(replace_file(path, archive + modules, 0444));
  return path;
}

}  // namespace sandforge::image
