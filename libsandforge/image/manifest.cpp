// SPDX-License-Identifier: Apache-2.0
#include "image/manifest.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "base/limits.hpp"
#include "base/toml_reader.hpp"
#include "image/digest.hpp"

namespace sandforge::image {

namespace {

using base::TomlDocument;
using base::TomlTable;

// What may stand between quotes without escaping, in names of modules and releases.
bool is_plain_word(std::string_view text) {
  return !text.empty() && text.size() <= limits::kImageWordMax && std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-' || c == '+' || c == '~';
  });
}

std::string canonical_part(const Manifest& manifest) {
  std::string modules;
  for (const std::string& module : manifest.kernel_modules) {
    modules += fmt::format("{}\"{}\"", modules.empty() ? "" : ", ", module);
  }
  return fmt::format(
      "format = {}\n\n"
      "[kernel]\ndigest = \"{}\"\nbytes = {}\nrelease = \"{}\"\nmodules = [{}]\n\n"
      "[modules]\ndigest = \"{}\"\nbytes = {}\n\n"
      "[root]\ndigest = \"{}\"\nbytes = {}\nfs = \"erofs\"\n",
      kManifestFormat, manifest.kernel.digest, manifest.kernel.bytes, manifest.kernel_release, modules,
      manifest.modules.digest, manifest.modules.bytes, manifest.root.digest, manifest.root.bytes);
}

base::Error damaged(std::string text) {
  return base::make_error(base::Code::Corrupt, "image_corrupt", "image manifest: " + std::move(text));
}

base::Result<Blob> read_blob(TomlTable table) {
  Blob blob;
  SANDFORGE_TRY(blob.digest, table.required_string("digest"));
  SANDFORGE_TRY(const std::int64_t bytes, table.required_integer("bytes"));
  if (!is_digest(blob.digest)) return damaged("a digest is not \"sha256:\" and 64 hex digits");
  if (bytes < 0) return damaged("a size is negative");
  blob.bytes = static_cast<std::uint64_t>(bytes);
  return blob;
}

// Manifests from before there was a choice do not tell.
base::Status read_kernel_kind(TomlTable& top, Manifest& manifest) {
  if (top.has("kernel_kind")) {
    SANDFORGE_TRY(const std::string name, top.required_string("kernel_kind"));
    const auto kind = kernel_kind_of(name);
    if (!kind) return damaged("kernel_kind is neither stock nor built nor given");
    manifest.kernel_kind = *kind;
  }
  SANDFORGE_TRY(manifest.kernel_build, top.string("kernel_build"));
  if (is_digest(manifest.kernel_build) != (manifest.kernel_kind == KernelKind::Built)) {
    return damaged("kernel_build is not what kernel_kind asks for");
  }
  return {};
}

base::Result<Manifest> read_manifest(TomlTable top) {
  Manifest manifest;
  SANDFORGE_TRY(const std::int64_t format, top.required_integer("format"));
  if (format != kManifestFormat) return damaged(fmt::format("format {} is not known to this version", format));
  SANDFORGE_TRY(manifest.name, top.required_string("name"));
  SANDFORGE_TRY(manifest.recipe_digest, top.required_string("recipe_digest"));
  SANDFORGE_TRY(manifest.created_at, top.required_integer("created_at"));
  SANDFORGE_TRY_STATUS(read_kernel_kind(top, manifest));
  SANDFORGE_TRY(TomlTable kernel, top.required_table("kernel"));
  SANDFORGE_TRY(manifest.kernel_release, kernel.required_string("release"));
  SANDFORGE_TRY(manifest.kernel_modules, kernel.strings("modules"));
  SANDFORGE_TRY(manifest.kernel, read_blob(kernel));
  SANDFORGE_TRY(TomlTable modules, top.required_table("modules"));
  SANDFORGE_TRY(manifest.modules, read_blob(modules));
  SANDFORGE_TRY(TomlTable root, top.required_table("root"));
  SANDFORGE_TRY(manifest.root, read_blob(root));
  SANDFORGE_TRY(const std::string file_system, root.required_string("fs"));
  if (file_system != "erofs") return damaged("the root file system is not erofs");
  if (!is_valid_name(manifest.name)) return damaged("the name is not valid");
  if (!manifest.recipe_digest.empty() && !is_digest(manifest.recipe_digest))
    return damaged("recipe_digest is no digest");
  const auto& names = manifest.kernel_modules;
  if (!is_plain_word(manifest.kernel_release) || !std::all_of(names.begin(), names.end(), is_plain_word)) {
    return damaged("the kernel's release or a module has a name that no kernel has");
  }
  return manifest;
}

}  // namespace

bool is_valid_name(std::string_view name) noexcept {
  const auto letter = [](char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); };
  return !name.empty() && name.size() <= limits::kImageNameMax && letter(name.front()) &&
         std::all_of(name.begin(), name.end(), [&](char c) { return letter(c) || c == '.' || c == '_' || c == '-'; });
}

std::string to_toml(const Manifest& manifest) {
  const std::string build =
      manifest.kernel_build.empty() ? std::string() : fmt::format("kernel_build = \"{}\"\n", manifest.kernel_build);
  return fmt::format(
      "name = \"{}\"\nrecipe_digest = \"{}\"\ncreated_at = {}\nkernel_kind = \"{}\"\n{}\n"
      "# The canonical part: the SHA-256 of all that follows this line is the digest of the image.\n{}",
      manifest.name, manifest.recipe_digest, manifest.created_at, name_of(manifest.kernel_kind), build,
      canonical_part(manifest));
}

std::string digest_of(const Manifest& manifest) { return sha256_of(canonical_part(manifest)); }

base::Result<Manifest> parse_manifest(std::string_view text) {
  auto document = TomlDocument::parse(text, "image manifest");
  auto manifest = document ? read_manifest(document->top()) : base::Result<Manifest>(std::move(document).error());
  if (!manifest) {
    manifest.error().code = base::Code::Corrupt;
    manifest.error().reason = "image_corrupt";
  }
  return manifest;
}

}  // namespace sandforge::image
