// SPDX-License-Identifier: Apache-2.0
#include "image/import.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <optional>

#include "base/limits.hpp"
#include "image/archive.hpp"
#include "image/builder.hpp"
#include "image/kernel.hpp"
#include "image/recipe.hpp"
#include "image/root_fs.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

base::Error not_an_image(const fs::path& root, std::string_view what) {
  return base::make_error(base::Code::InvalidArgument, "not_an_image", fmt::format("{} {}", root.string(), what),
                          "give a root file system as directory or tar, or an OCI image layout");
}

bool contains(const fs::path& outer, const fs::path& inner) {
  const auto [end, ignored] = std::mismatch(outer.begin(), outer.end(), inner.begin(), inner.end());
  return end == outer.end();
}

// What `docker save` writes: layers within an archive of another shape.
bool is_docker_archive(const fs::path& directory) {
  std::error_code error;
  return fs::is_regular_file(directory / "manifest.json", error) && !fs::exists(directory / "etc", error) &&
         !fs::exists(directory / "usr", error);
}

// The directory that holds the root file system, after unpacking what has to be.
base::Result<fs::path> find_tree(const fs::path& root, const fs::path& temp, const Progress& progress) {
  ImportBudget budget{limits::kImportBytesMax, limits::kImportEntriesMax};
  std::error_code error;
  const fs::file_status status = fs::status(root, error);
  if (!fs::exists(status)) return base::os_error("cannot open " + root.string(), error.value());
  fs::path tree = root;
  if (fs::is_regular_file(status)) {
    if (progress) progress("unpack archive", 0, 1);
    tree = temp / "archive";
    SANDFORGE_TRY_STATUS(unpack_tar(root, tree, temp / "members", budget));
    if (progress) progress("unpack archive", 1, 1);
  } else if (!fs::is_directory(status)) {
    return not_an_image(root, "is neither a directory nor a file");
  }
  if (is_oci_layout(tree)) {
    SANDFORGE_TRY_STATUS(unpack_oci(tree, temp / "root", temp, budget, progress));
    return temp / "root";
  }
  if (is_docker_archive(tree)) {
    return base::make_error(base::Code::InvalidArgument, "not_an_image",
                            root.string() + " is an archive of `docker save`, not a root file system",
                            "use `docker export`, or copy the image to an OCI layout (skopeo copy … oci:DIR)");
  }
  return tree;
}

// Counts before mkfs.erofs reads it all; a directory of the user has no cap of its own.
base::Status check_tree(const fs::path& tree, const fs::path& given) {
  std::uint64_t entries = 0, bytes = 0;
  std::error_code error;
  for (auto entry = fs::recursive_directory_iterator(tree, error);
       !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (entry.depth() == 0 && (name == "dev" || name == "proc" || name == "run" || name == "sys")) {
      entry.disable_recursion_pending();
    }
    struct stat status {};
    if (::lstat(entry->path().c_str(), &status) == 0 && S_ISREG(status.st_mode)) {
      bytes += static_cast<std::uint64_t>(status.st_size);
    }
    if (++entries > limits::kImportEntriesMax || bytes > limits::kImportBytesMax) {
      return base::make_error(base::Code::Exhausted, "import_too_large",
                              fmt::format("the root file system has more than {} GiB or {} entries",
                                          limits::kImportBytesMax / limits::kGiB, limits::kImportEntriesMax));
    }
  }
  if (error) return base::os_error("cannot read " + given.string(), error.value());
  if (entries == 0) {
    return base::make_error(base::Code::InvalidArgument, "empty_root",
                            given.string() + " is an empty root file system");
  }
  return {};
}

// A link counts: where it leads is for the guest to see.
bool has_entry(const fs::path& tree, std::initializer_list<const char*> candidates) {
  std::error_code error;
  return std::any_of(candidates.begin(), candidates.end(),
                     [&](const char* path) { return fs::exists(fs::symlink_status(tree / path, error)); });
}

// Copies lib/modules/<release> out of the tree: depmod writes to it, and the tree may be the user's own.
base::Status copy_modules(const fs::path& tree, const std::string& release, const fs::path& to) {
  const fs::path target = to / "lib/modules" / release;
  SANDFORGE_TRY_STATUS(make_dirs(target.parent_path()));
  std::error_code error;
  const fs::path base = fs::canonical(tree, error);
  for (const char* lib : {"usr/lib/modules", "lib/modules"}) {
    // A link in a foreign tree must not lead to the host's modules.
    const fs::path found = fs::canonical(tree / lib / release, error);
    if (error || !contains(base, found) || !fs::is_directory(found, error)) continue;
    fs::copy(found, target, fs::copy_options::recursive | fs::copy_options::skip_symlinks, error);
    if (error) return base::os_error("cannot copy the modules of kernel " + release, error.value());
    // Tells whether the kernel insists on signed modules; it does no harm when there is none.
    const fs::path config = base / "boot" / ("config-" + release);
    if (!fs::is_regular_file(fs::symlink_status(config, error))) return {};
    SANDFORGE_TRY_STATUS(make_dirs(to / "boot"));
    fs::copy_file(config, to / "boot" / config.filename(), error);
    return {};
  }
  return base::make_error(base::Code::NotFound, "module_missing", "there is no lib/modules/" + release);
}

base::Result<KernelParts> import_kernel(const fs::path& kernel, const fs::path& tree, const fs::path& temp,
                                        const Progress& progress) {
  const fs::path vmlinux = temp / "vmlinux.given";
  SANDFORGE_TRY_STATUS(unpack_kernel(kernel, vmlinux, temp));
  SANDFORGE_TRY(const std::string bytes, read_file(vmlinux, limits::kKernelBytesMax));
  const std::string release = find_release(bytes);
  SANDFORGE_TRY(const Recipe recipe, parse_recipe(default_recipe_text(), "default recipe"));
  ModulesWanted modules = recipe.modules;
  const base::Status copied = copy_modules(tree, release, temp / "kernel");
  if (!copied && copied.error().reason != "module_missing") return copied.error();
  if (!copied) {
    if (progress) {
      progress(fmt::format("warning: no lib/modules/{} in the root file system; all that the guest needs must be built "
                           "into the kernel",
                           release),
               0, 0);
    }
    modules = {};
    SANDFORGE_TRY_STATUS(make_dirs(temp / "kernel/lib/modules" / release));
  }
  return make_kernel_parts(vmlinux, temp / "kernel", release, modules, temp, progress);
}

}  // namespace

base::Result<Manifest> import_image(Store& store, const std::string& name, const fs::path& root, const fs::path& kernel,
                                    const Progress& progress) {
  if (!is_valid_name(name)) return store.manifest(name);  // says what is wrong with it
  SANDFORGE_TRY_STATUS(require_tools({kMkfsErofs, kTar}));
  Manifest manifest;
  if (kernel.empty()) {
    auto standard = store.manifest("default");
    if (!standard)
      return std::move(standard).error().context("no kernel was given, and that of \"default\" is not there");
    manifest = std::move(standard).value();
  } else {
    SANDFORGE_TRY_STATUS(require_tools({kDepmod, kModprobe}));
  }
  std::error_code error;
  const fs::path given = fs::absolute(root, error);
  if (fs::is_directory(given, error) &&
      contains(fs::weakly_canonical(given, error), fs::weakly_canonical(store.dir(), error))) {
    return base::make_error(base::Code::InvalidArgument, "not_an_image",
                            given.string() + " holds the image store itself",
                            "set SANDFORGE_IMAGE_DIR to a directory elsewhere");
  }

  SANDFORGE_TRY(const TempDir temp, store.make_temp_dir());
  SANDFORGE_TRY(const fs::path tree, find_tree(given, temp.path(), progress));
  SANDFORGE_TRY_STATUS(check_tree(tree, given));
  if (progress && !has_entry(tree, {"bin/sh", "usr/bin/sh"})) {
    progress("warning: the root file system has no /bin/sh", 0, 0);
  }
  if (progress && ::geteuid() != 0) progress("warning: not run by root, so every file of the image is root's", 0, 0);

  PartFiles files;
  if (!kernel.empty()) {
    SANDFORGE_TRY(KernelParts parts, import_kernel(fs::absolute(kernel, error), tree, temp.path(), progress));
    files.kernel = parts.vmlinux;
    files.modules = parts.modules;
    manifest.kernel_kind = KernelKind::Given;
    manifest.kernel_build.clear();
    manifest.kernel_release = std::move(parts.release);
    manifest.kernel_modules = std::move(parts.module_names);
  }
  files.root = temp / "root.erofs";
  SANDFORGE_TRY_STATUS(write_erofs(tree, files.root, Times::Kept, progress));
  manifest.name = name;
  manifest.recipe_digest.clear();
  manifest.created_at = std::time(nullptr);
  return store.put(std::move(manifest), files);
}

}  // namespace sandforge::image
