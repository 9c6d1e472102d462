// SPDX-License-Identifier: Apache-2.0
#include "engine/provision.hpp"

#include <sys/stat.h>

#include "backend/private_disk.hpp"
#include "base/helpers.hpp"
#include "base/limits.hpp"
#include "engine/host_directory.hpp"
#include "engine/record.hpp"
#include "image/store.hpp"

namespace sandforge::engine {
namespace fs = std::filesystem;
namespace {

base::Status use_image(const Core& core, const SandboxInfo& info, Provisioned& result) {
  const Directories& directories = core.directories();
  SANDFORGE_TRY(const image::Store store, image::Store::open(directories.images, false));
  SANDFORGE_TRY(const image::BootFiles files, store.resolve(info.spec.image));
  SANDFORGE_TRY(const fs::path agent, base::find_helper("sandforge-agent", directories.helpers));
  SANDFORGE_TRY(result.plan.initrd, image::make_initrd(files, agent, directories.state / "initrd"));
  result.image_digest = files.digest;
  result.plan.kernel = files.kernel;
  result.plan.root_image = files.root;
  result.plan.disk = result.plan.directory / "disk.img";
  return backend::make_private_disk(result.plan.disk, static_cast<std::uint64_t>(info.spec.disk_gb) * limits::kGiB);
}

}  // namespace

base::Result<Provisioned> provision(const Core& core, const SandboxInfo& info, bool uses_images) {
  Provisioned result;
  result.plan.id = info.spec.id;
  result.plan.directory = core.sandbox_directory(info.spec.id);
  result.plan.cpus = static_cast<std::uint32_t>(info.spec.cpu);
  result.plan.memory_mib = static_cast<std::uint64_t>(info.spec.memory_mb);
  if (::mkdir(result.plan.directory.c_str(), 0700) != 0) {
    return base::os_error("cannot make the sandbox's directory " + result.plan.directory.string());
  }
  SANDFORGE_TRY_STATUS(write_record(result.plan.directory, info));
  for (const Mount& mount : info.spec.mounts) {
    SANDFORGE_TRY(base::UniqueFd directory, open_host_directory(core.policy(), mount));
    result.mount_directories.push_back(std::move(directory));
  }
  if (uses_images) SANDFORGE_TRY_STATUS(use_image(core, info, result));
  return result;
}

base::Status remove_sandbox_directory(const fs::path& directory) {
  std::error_code error;
  fs::remove_all(directory, error);
  if (error) return base::os_error("cannot remove " + directory.string(), error.value());
  return {};
}

base::Status keep_record_only(const fs::path& directory) {
  std::error_code error;
  fs::directory_iterator entry(directory, error);
  if (error)
    return error == std::errc::no_such_file_or_directory
               ? base::Status{}
               : base::os_error("cannot read " + directory.string(), error.value());
  for (; entry != fs::directory_iterator(); entry.increment(error)) {
    if (error) break;
    if (entry->path().filename() != kRecordName) fs::remove_all(entry->path(), error);
    if (error) break;
  }
  if (error) return base::os_error("cannot clear " + directory.string(), error.value());
  return {};
}

}  // namespace sandforge::engine
