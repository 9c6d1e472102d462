// SPDX-License-Identifier: Apache-2.0
// Images: the store of guest images (kernel, modules and root file system under one digest). Needs no Engine.
#pragma once

#include <sandforge/error.hpp>

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace sandforge {

struct ImageInfo {
  std::string name{};
  std::string digest{};         // "sha256:" + 64 hex digits, of the manifest
  std::string recipe_digest{};  // empty for imports
  std::string kernel_release{};
  std::uint64_t kernel_bytes = 0, modules_bytes = 0, root_bytes = 0;
  std::int64_t created_at = 0;  // Unix seconds
  std::string manifest{};       // TOML
};

// A long step started, went on or ended: `done` of `total` units (total 0: unknown). On the calling thread of build or
// import; must not throw.
using ProgressFunction = std::function<void(std::string_view step, std::uint64_t done, std::uint64_t total)>;

struct ImageOptions {
  std::string image_dir{};  // empty: as in EngineOptions
  std::string helper_dir{};
  ProgressFunction progress{};
  std::string kernel{};  // of build: "stock" or "built"; empty: what the recipe says
};

namespace detail {

inline void call_progress(void* user_data, const char* step, std::uint64_t done, std::uint64_t total) noexcept {
  (*static_cast<ProgressFunction*>(user_data))(text_of(step), done, total);
}

inline ImageInfo copy(const sandforge_image_info& from) {
  ImageInfo info;
  info.name = text_of(from.name);
  info.digest = text_of(from.digest);
  info.recipe_digest = text_of(from.recipe_digest);
  info.kernel_release = text_of(from.kernel_release);
  info.kernel_bytes = from.kernel_bytes;
  info.modules_bytes = from.modules_bytes;
  info.root_bytes = from.root_bytes;
  info.created_at = from.created_at;
  info.manifest = text_of(from.manifest);
  return info;
}

}  // namespace detail

class Images {
 public:
  explicit Images(ImageOptions options = {}) : options_(std::move(options)) {}

  // By a recipe file, or the built-in default recipe when `recipe_path` is empty. Does nothing but answer when the
  // store has that image already, unless `force`. BLOCKS for minutes.
  ImageInfo build(const std::string& name = {}, const std::string& recipe_path = {}, bool force = false) {
    const sandforge_image_options c_options = c_of();
    detail::Call call;
    sandforge_image_info* raw = nullptr;
    call.check(sandforge_image_build(&c_options, detail::c_text_or_default(name, "the image name"),
                                     detail::c_text_or_default(recipe_path, "the recipe path"), force ? 1 : 0, &raw,
                                     call.slot()));
    return take(raw);
  }

  // A directory, a tar or an OCI layout directory as image `name`; `kernel_path` empty: kernel and modules of image
  // "default". BLOCKS.
  ImageInfo import(const std::string& name, const std::string& root_path, const std::string& kernel_path = {}) {
    const sandforge_image_options c_options = c_of();
    detail::Call call;
    sandforge_image_info* raw = nullptr;
    call.check(sandforge_image_import(&c_options, detail::c_text(name, "the image name"),
                                      detail::c_text(root_path, "the root path"),
                                      detail::c_text_or_default(kernel_path, "the kernel path"), &raw, call.slot()));
    return take(raw);
  }

  // By name.
  std::vector<ImageInfo> list() {
    const sandforge_image_options c_options = c_of();
    detail::Call call;
    sandforge_image_list* raw = nullptr;
    call.check(sandforge_image_list_all(&c_options, &raw, call.slot()));
    const detail::Owned<sandforge_image_list, sandforge_image_list_free> list(raw);
    std::vector<ImageInfo> images;
    images.reserve(list->count);
    for (std::size_t i = 0; i < list->count; ++i) images.push_back(detail::copy(*list->items[i]));
    return images;
  }

  // Checks every blob against its digest too. Throws NotFound, Corrupt.
  ImageInfo inspect(const std::string& name) {
    const sandforge_image_options c_options = c_of();
    detail::Call call;
    sandforge_image_info* raw = nullptr;
    call.check(sandforge_image_inspect(&c_options, detail::c_text(name, "the image name"), &raw, call.slot()));
    return take(raw);
  }

  // Removes the name, and blobs that no other image uses.
  void remove(const std::string& name) {
    const sandforge_image_options c_options = c_of();
    detail::Call call;
    call.check(sandforge_image_remove(&c_options, detail::c_text(name, "the image name"), call.slot()));
  }

 private:
  sandforge_image_options c_of() {
    sandforge_image_options c_options{};
    c_options.size = sizeof c_options;
    c_options.image_dir = detail::c_text_or_default(options_.image_dir, "image_dir");
    c_options.helper_dir = detail::c_text_or_default(options_.helper_dir, "helper_dir");
    c_options.progress = options_.progress ? &detail::call_progress : nullptr;
    c_options.user_data = &options_.progress;
    c_options.kernel = detail::c_text_or_default(options_.kernel, "kernel");
    return c_options;
  }
  static ImageInfo take(sandforge_image_info* raw) {
    const detail::Owned<sandforge_image_info, sandforge_image_info_free> info(raw);
    return detail::copy(*info);
  }

  ImageOptions options_;
};

}  // namespace sandforge
