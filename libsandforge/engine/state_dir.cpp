// SPDX-License-Identifier: Apache-2.0
#include "engine/state_dir.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/guest_cgroup.hpp"
#include "base/directories.hpp"
#include "engine/provision.hpp"

namespace sandforge::engine {
namespace fs = std::filesystem;
namespace {

// Parents as the umask says, the directory itself 0700.
base::Status make_private(const fs::path& directory) {
  std::error_code error;
  if (directory.has_parent_path()) fs::create_directories(directory.parent_path(), error);
  if (!error && ::mkdir(directory.c_str(), 0700) != 0 && errno != EEXIST) error.assign(errno, std::generic_category());
  if (!error && !fs::is_directory(directory, error) && !error) error = std::make_error_code(std::errc::not_a_directory);
  if (!error) return {};
  return base::os_error("cannot make the directory " + directory.string(), error.value())
      .with_remedy("name a state directory that this user can write");
}

}  // namespace

fs::path default_state_dir() {
  const fs::path named = base::path_from_environment("SANDFORGE_STATE_DIR");
  return named.empty() ? base::default_data_dir() : named;
}

base::Result<base::UniqueFd> lock_state_dir(const fs::path& directory) {
  if (directory.empty()) {
    return base::make_error(base::Code::InvalidArgument, "no_state_dir",
                            "no state directory is given, and neither XDG_STATE_HOME nor HOME is set",
                            "name a state directory");
  }
  SANDFORGE_TRY_STATUS(make_private(directory));
  const fs::path file = directory / "lock";
  base::UniqueFd fd(::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) {
    return base::os_error("cannot open " + file.string())
        .with_remedy("name a state directory that this user can write");
  }
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) return base::os_error("cannot lock " + file.string());
    return base::make_error(base::Code::Conflict, "state_dir_in_use",
                            "the state directory " + directory.string() + " is in use by another engine",
                            "stop the other engine, or name another state directory than " + directory.string());
  }
  SANDFORGE_TRY_STATUS(make_private(directory / "sandboxes"));
  return fd;
}

base::Result<std::size_t> reap_state_dir(const fs::path& directory) {
  std::size_t count = 0;
  std::error_code error;
  for (fs::directory_iterator entry(directory / "sandboxes", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    SANDFORGE_TRY_STATUS(remove_sandbox_directory(entry->path()));
    ++count;
  }
  if (error) return base::os_error("cannot read " + (directory / "sandboxes").string(), error.value());
  (void)backend::remove_leftover_cgroups(backend::cgroup_folder(), backend::cgroup_owner(directory / "sandboxes"));
  // Initrds are made anew in milliseconds; those of images and agents long gone would pile up otherwise.
  fs::remove_all(directory / "initrd", error);
  if (error) return base::os_error("cannot remove " + (directory / "initrd").string(), error.value());
  return count;
}

}  // namespace sandforge::engine
