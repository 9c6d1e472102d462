// SPDX-License-Identifier: Apache-2.0
#include "image/builder.hpp"

#include <unistd.h>

#include <ctime>

#include "base/limits.hpp"
#include "image/kernel.hpp"
#include "image/modules.hpp"
#include "image/root_fs.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

base::Result<KernelParts> make_kernel_parts(const fs::path& image, const fs::path& tree, std::string release,
                                            const std::vector<std::string>& modules, const fs::path& temp,
                                            const Progress& progress) {
  constexpr std::string_view kStep = "unpack kernel";
  if (progress) progress(kStep, 0, 2);
  KernelParts parts;
  parts.vmlinux = temp / "vmlinux";
  parts.modules = temp / "modules.cpio";
  SANDFORGE_TRY_STATUS(unpack_kernel(image, parts.vmlinux, temp));
  if (release.empty()) {
    SANDFORGE_TRY(const std::string bytes, read_file(parts.vmlinux, limits::kKernelBytesMax));
    release = find_release(bytes);
  }
  if (release.empty()) {
    return base::make_error(base::Code::InvalidArgument, "not_a_kernel",
                            image.string() + " does not tell its release (no \"Linux version\" in it)");
  }
  if (progress) progress(kStep, 1, 2);
  SANDFORGE_TRY(ModuleArchive archive, archive_modules(tree, release, modules, temp));
  SANDFORGE_TRY_STATUS(write_file(parts.modules, archive.cpio));
  parts.release = std::move(release);
  parts.module_names = std::move(archive.names);
  if (progress) progress(kStep, 2, 2);
  return parts;
}

base::Result<Manifest> build(Store& store, const std::string& name, const Recipe& recipe, bool force,
                             const Progress& progress) {
  const std::string recipe_digest = digest_of(recipe);
  auto present = store.manifest(name);
  if (present && present->recipe_digest == recipe_digest && !force) return present;
  if (!present && present.error().code == base::Code::InvalidArgument) return std::move(present).error();

  // The last one gives who is not root a user namespace with more than one id.
  const Tool namespaces = ::geteuid() == 0 ? kTar : kNewuidmap;
  SANDFORGE_TRY_STATUS(require_tools(
      {kApt, kAptCache, kDpkgDeb, kMmdebstrap, kMkfsErofs, kDepmod, kModprobe, kTar, kXz, kLz4, namespaces}));
  SANDFORGE_TRY(const AptSources sources, sources_of(recipe));
  SANDFORGE_TRY(const TempDir temp, store.make_temp_dir());
  SANDFORGE_TRY(const KernelPackage package, fetch_kernel(sources, recipe.kernel_package, temp.path(), progress));
  SANDFORGE_TRY(const KernelParts kernel,
                make_kernel_parts(package.image, package.tree, package.release, recipe.modules, temp.path(), progress));
  const fs::path root = temp / "root.erofs";
  SANDFORGE_TRY_STATUS(build_root(recipe, sources, temp.path(), root, progress));

  Manifest manifest;
  manifest.name = name;
  manifest.recipe_digest = recipe_digest;
  manifest.created_at = std::time(nullptr);
  manifest.kernel_release = kernel.release;
  manifest.kernel_modules = kernel.module_names;
  return store.put(std::move(manifest), {.kernel = kernel.vmlinux, .modules = kernel.modules, .root = root});
}

}  // namespace sandforge::image
