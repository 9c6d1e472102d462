// SPDX-License-Identifier: Apache-2.0
#include "image/builder.hpp"

#include <unistd.h>

#include <ctime>

#include "base/limits.hpp"
#include "image/bzimage.hpp"
#include "image/cpio.hpp"
#include "image/kernel.hpp"
#include "image/kernel_build.hpp"
#include "image/modules.hpp"
#include "image/root_fs.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

base::Result<KernelParts> make_kernel_parts(const fs::path& image, const fs::path& tree, std::string release,
                                            const ModulesWanted& modules, const fs::path& temp,
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

namespace {

base::Result<KernelParts> stock_kernel(const Recipe& recipe, const AptSources& sources, const fs::path& temp,
                                       const Progress& progress) {
  SANDFORGE_TRY(const KernelPackage package, fetch_kernel(sources, recipe.kernel_package, temp, progress));
  return make_kernel_parts(package.image, package.tree, package.release, recipe.modules, temp, progress);
}

// Everything is built in: the modules archive has an empty list, so that all images have the same parts.
base::Result<KernelParts> built_kernel(const Store& store, const Recipe& recipe, const AptSources& sources,
                                       const fs::path& temp, const Progress& progress) {
  SANDFORGE_TRY(const BuiltKernel built, build_kernel(store, sources, recipe.kernel_source, temp, progress));
  KernelParts parts{.vmlinux = built.vmlinux, .modules = temp / "modules.cpio", .build = built.key};
  SANDFORGE_TRY(const std::string bytes, read_file(built.vmlinux, limits::kKernelBytesMax));
  parts.release = find_release(bytes);
  if (parts.release.empty() || !is_x86_64_elf(bytes)) {
    return base::make_error(base::Code::Internal, {}, "the kernel that was built is not an ELF kernel");
  }
  CpioWriter archive;
  archive.directory("modules");
  archive.file("modules/order", "");
  SANDFORGE_TRY_STATUS(write_file(parts.modules, std::move(archive).finish()));
  return parts;
}

}  // namespace

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
  if (recipe.kernel == KernelKind::Built) SANDFORGE_TRY_STATUS(require_kernel_tools());
  SANDFORGE_TRY(const AptSources sources, sources_of(recipe));
  SANDFORGE_TRY(const TempDir temp, store.make_temp_dir());
  const bool built = recipe.kernel == KernelKind::Built;
  SANDFORGE_TRY(const KernelParts kernel, built ? built_kernel(store, recipe, sources, temp.path(), progress)
                                                : stock_kernel(recipe, sources, temp.path(), progress));
  const fs::path root = temp / "root.erofs";
  SANDFORGE_TRY_STATUS(build_root(recipe, sources, temp.path(), root, progress));

  Manifest manifest;
  manifest.name = name;
  manifest.recipe_digest = recipe_digest;
  manifest.created_at = std::time(nullptr);
  manifest.kernel_kind = recipe.kernel;
  manifest.kernel_build = kernel.build;
  manifest.kernel_release = kernel.release;
  manifest.kernel_modules = kernel.module_names;
  return store.put(std::move(manifest), {.kernel = kernel.vmlinux, .modules = kernel.modules, .root = root});
}

}  // namespace sandforge::image
