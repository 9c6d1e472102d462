// SPDX-License-Identifier: Apache-2.0
// Section 8 of sandforge.h: images. No engine is involved.
#include <sandforge/sandforge.h>

#include <memory>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "capi/abi_check.hpp"
#include "capi/guard.hpp"
#include "image/builder.hpp"
#include "image/import.hpp"
#include "image/recipe.hpp"
#include "image/store.hpp"

namespace base = sandforge::base;
namespace capi = sandforge::capi;
namespace image = sandforge::image;
namespace limits = sandforge::limits;

namespace {

// The public structs with what their pointers lead to. Given away as the base, taken back by *_free.
struct OwnedInfo final : sandforge_image_info {
  std::string owned_name, owned_digest, owned_recipe_digest, owned_release, owned_manifest;
};

struct OwnedList final : sandforge_image_list {
  std::vector<std::unique_ptr<OwnedInfo>> owned;
  std::vector<const sandforge_image_info*> pointers;
};

std::unique_ptr<OwnedInfo> make_info(const image::Manifest& manifest) {
  auto info = std::make_unique<OwnedInfo>();
  info->owned_name = manifest.name;
  info->owned_digest = image::digest_of(manifest);
  info->owned_recipe_digest = manifest.recipe_digest;
  info->owned_release = manifest.kernel_release;
  info->owned_manifest = image::to_toml(manifest);
  info->size = sizeof(sandforge_image_info);
  info->name = info->owned_name.c_str();
  info->digest = info->owned_digest.c_str();
  info->recipe_digest = info->owned_recipe_digest.c_str();
  info->kernel_release = info->owned_release.c_str();
  info->kernel_bytes = manifest.kernel.bytes;
  info->modules_bytes = manifest.modules.bytes;
  info->root_bytes = manifest.root.bytes;
  info->created_at = manifest.created_at;
  info->manifest = info->owned_manifest.c_str();
  return info;
}

void give(const image::Manifest& manifest, sandforge_image_info** out) {
  auto info = make_info(manifest);
  if (out != nullptr) *out = info.release();
}

base::Result<image::Store> open_store(const sandforge_image_options& options, bool create) {
  const bool given = options.image_dir != nullptr && *options.image_dir != '\0';
  return image::Store::open(given ? std::filesystem::path(options.image_dir) : image::default_image_dir(), create);
}

image::Progress progress_of(const sandforge_image_options& options) {
  if (options.progress == nullptr) return {};
  return [progress = options.progress, data = options.user_data](std::string_view step, std::uint64_t done,
                                                                 std::uint64_t total) {
    progress(data, std::string(step).c_str(), done, total);
  };
}

std::string name_or_default(const char* name) { return name == nullptr || *name == '\0' ? "default" : name; }

base::Result<image::Recipe> load_recipe_file(const char* path) {
  if (path == nullptr || *path == '\0') return image::parse_recipe(image::default_recipe_text(), "default recipe");
  auto text = image::read_file(path, limits::kRecipeBytesMax);
  if (!text) return std::move(text).error().context("recipe");
  return image::parse_recipe(text.value(), path);
}

base::Result<image::Recipe> load_recipe(const char* path, const char* kernel) {
  SANDFORGE_TRY(image::Recipe recipe, load_recipe_file(path));
  if (kernel == nullptr || *kernel == '\0') return recipe;
  const auto kind = image::kernel_kind_of(kernel);
  if (!kind || *kind == image::KernelKind::Given) {
    return base::make_error(base::Code::InvalidArgument, "invalid_kernel",
                            "there is no kind of kernel \"" + std::string(kernel) + "\"", "use stock or built");
  }
  if (*kind == image::KernelKind::Built && recipe.kernel_source.empty()) {
    return base::make_error(base::Code::InvalidArgument, "invalid_recipe",
                            "the recipe does not say what a kernel is built of",
                            "set `kernel_source` in the recipe to a package such as linux-source-6.1");
  }
  recipe.kernel = *kind;
  return recipe;
}

}  // namespace

extern "C" {

sandforge_code sandforge_image_build(const sandforge_image_options* options, const char* name, const char* recipe_path,
                                     uint32_t force, sandforge_image_info** info, sandforge_error** error) {
  return capi::guard(error, [&]() -> base::Status {
    SANDFORGE_TRY(const sandforge_image_options checked, capi::read_struct(options, "sandforge_image_options"));
    SANDFORGE_TRY(const image::Recipe recipe, load_recipe(recipe_path, checked.kernel));
    SANDFORGE_TRY(image::Store store, open_store(checked, true));
    SANDFORGE_TRY(const image::Manifest manifest,
                  image::build(store, name_or_default(name), recipe, force != 0, progress_of(checked)));
    give(manifest, info);
    return {};
  });
}

sandforge_code sandforge_image_import(const sandforge_image_options* options, const char* name, const char* root_path,
                                      const char* kernel_path, sandforge_image_info** info, sandforge_error** error) {
  return capi::guard(error, [&]() -> base::Status {
    SANDFORGE_TRY(const sandforge_image_options checked, capi::read_struct(options, "sandforge_image_options"));
    if (name == nullptr || root_path == nullptr || *root_path == '\0') {
      return base::make_error(base::Code::InvalidArgument, {}, "an import needs a name and a root file system");
    }
    SANDFORGE_TRY(image::Store store, open_store(checked, true));
    SANDFORGE_TRY(
        const image::Manifest manifest,
        image::import_image(store, name, root_path, kernel_path == nullptr ? "" : kernel_path, progress_of(checked)));
    give(manifest, info);
    return {};
  });
}

sandforge_code sandforge_image_list_all(const sandforge_image_options* options, sandforge_image_list** list,
                                        sandforge_error** error) {
  return capi::guard(error, [&]() -> base::Status {
    SANDFORGE_TRY(const sandforge_image_options checked, capi::read_struct(options, "sandforge_image_options"));
    auto store = open_store(checked, false);
    // A store that nobody has made yet is an empty one.
    if (!store && store.error().reason != "image_missing") return std::move(store).error();
    auto result = std::make_unique<OwnedList>();
    if (store) {
      SANDFORGE_TRY(const std::vector<image::Manifest> manifests, store->list());
      for (const image::Manifest& manifest : manifests) result->owned.push_back(make_info(manifest));
    }
    for (const auto& info : result->owned) result->pointers.push_back(info.get());
    result->size = sizeof(sandforge_image_list);
    result->count = result->pointers.size();
    result->items = result->pointers.data();
    if (list != nullptr) *list = result.release();
    return {};
  });
}

sandforge_code sandforge_image_inspect(const sandforge_image_options* options, const char* name,
                                       sandforge_image_info** info, sandforge_error** error) {
  return capi::guard(error, [&]() -> base::Status {
    SANDFORGE_TRY(const sandforge_image_options checked, capi::read_struct(options, "sandforge_image_options"));
    SANDFORGE_TRY(const image::Store store, open_store(checked, false));
    SANDFORGE_TRY(const image::Manifest manifest, store.inspect(name_or_default(name)));
    give(manifest, info);
    return {};
  });
}

sandforge_code sandforge_image_remove(const sandforge_image_options* options, const char* name,
                                      sandforge_error** error) {
  return capi::guard(error, [&]() -> base::Status {
    SANDFORGE_TRY(const sandforge_image_options checked, capi::read_struct(options, "sandforge_image_options"));
    SANDFORGE_TRY(image::Store store, open_store(checked, false));
    // No default here: what is removed is said.
    return store.remove(name == nullptr ? "" : name);
  });
}

// SAFETY: whatever was given away above is the base of what is deleted here.
void sandforge_image_info_free(sandforge_image_info* info) { delete static_cast<OwnedInfo*>(info); }
void sandforge_image_list_free(sandforge_image_list* list) { delete static_cast<OwnedList*>(list); }

}  // extern "C"
