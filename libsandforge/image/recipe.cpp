// SPDX-License-Identifier: Apache-2.0
#include "image/recipe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "base/limits.hpp"
#include "base/toml_reader.hpp"
#include "image/digest.hpp"
#include "image/embedded.hpp"
#include "image/kernel_config.hpp"

namespace sandforge::image {

namespace {

using base::TomlDocument;
using base::TomlTable;

// Goes up when the same recipe gives another image than before, for a reason that is not in kFinishRootScript.
constexpr int kBuilderFormat = 3;

using Check = bool (*)(std::string_view);

bool is_letter_or_digit(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// Begins with a letter or digit (never an option), and has no other characters than those and `more`.
bool is_word(std::string_view text, std::string_view more) {
  return !text.empty() && text.size() <= limits::kImageWordMax && is_letter_or_digit(text.front()) &&
         std::all_of(text.begin(), text.end(),
                     [&](char c) { return is_letter_or_digit(c) || more.find(c) != std::string_view::npos; });
}

bool is_suite(std::string_view text) { return is_word(text, "-._"); }
bool is_package(std::string_view text) { return is_word(text, "-.+:=~_"); }
bool is_module(std::string_view text) { return is_word(text, "-_"); }
bool is_hostname(std::string_view text) { return is_word(text, "-.") && text.size() <= 64; }

bool is_variant(std::string_view text) {
  constexpr std::array<std::string_view, 6> kVariants = {"apt",    "essential", "minbase",
                                                         "buildd", "important", "standard"};
  return std::find(kVariants.begin(), kVariants.end(), text) != kVariants.end();
}

bool is_printable(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= ' ' && c <= '~'; });
}

bool is_mirror(std::string_view text) {
  constexpr std::array<std::string_view, 5> kStarts = {"deb ", "http://", "https://", "file:", "copy:"};
  return is_printable(text) && text.size() <= limits::kPathMax &&
         std::any_of(kStarts.begin(), kStarts.end(), [&](std::string_view start) { return text.starts_with(start); });
}

// Absolute, no empty, "." or ".." component.
bool is_image_path(std::string_view path) {
  if (!path.starts_with('/') || path.size() > limits::kPathMax || path.find('\0') != std::string_view::npos)
    return false;
  while (!path.empty()) {
    path.remove_prefix(1);  // the slash
    const std::string_view part = path.substr(0, path.find('/'));
    if (part.empty() || part == "." || part == "..") return false;
    path.remove_prefix(part.size());
  }
  return true;
}

bool is_target(std::string_view text) {
  return !text.empty() && text.size() <= limits::kPathMax && text.find('\0') == std::string_view::npos;
}

base::Result<std::string> checked(const TomlTable& table, std::string_view key, Check check, std::string_view what) {
  SANDFORGE_TRY(std::string value, table.required_string(key));
  if (!check(value)) return table.error_at(key, what);
  return value;
}

base::Result<std::vector<std::string>> checked_list(const TomlTable& table, std::string_view key, Check check,
                                                    std::string_view what) {
  SANDFORGE_TRY(std::vector<std::string> values, table.strings(key));
  if (values.size() > limits::kRecipeListMax) return table.error_at(key, "has too many entries");
  for (const std::string& value : values) {
    if (!check(value)) return table.error_at(key, fmt::format("holds \"{}\", which is not {}", value, what));
  }
  return values;
}

base::Result<unsigned> read_mode(const TomlTable& table) {
  if (!table.has("mode")) return 0644U;
  SANDFORGE_TRY(const std::string text, table.required_string("mode"));
  unsigned mode = 0;
  for (const char c : text) {
    if (c < '0' || c > '7' || text.size() > 5) return table.error_at("mode", "must be octal digits, such as \"0755\"");
    mode = mode * 8 + static_cast<unsigned>(c - '0');
  }
  if (text.empty() || mode > 07777) return table.error_at("mode", "must be octal digits, such as \"0755\"");
  return mode;
}

base::Status read_files(const TomlTable& top, Recipe& recipe) {
  SANDFORGE_TRY(const std::vector<TomlTable> files, top.tables("file"));
  SANDFORGE_TRY(const std::vector<TomlTable> symlinks, top.tables("symlink"));
  if (files.size() + symlinks.size() > limits::kRecipeListMax) return top.error_at("file", "stands there too often");
  constexpr std::string_view kPathRule = "must be an absolute path without empty, \".\" and \"..\" components";
  std::size_t room = limits::kRecipeContentMax;
  for (const TomlTable& table : files) {
    SANDFORGE_TRY_STATUS(table.only({"path", "content", "mode"}));
    RecipeFile file;
    SANDFORGE_TRY(file.path, checked(table, "path", is_image_path, kPathRule));
    SANDFORGE_TRY(file.content, table.required_string("content"));
    SANDFORGE_TRY(file.mode, read_mode(table));
    if (file.content.find('\0') != std::string::npos) return table.error_at("content", "must not contain NUL");
    if (file.content.size() > room) return table.error_at("content", "is more than a recipe may hold (64 KiB in all)");
    room -= file.content.size();
    recipe.files.push_back(std::move(file));
  }
  for (const TomlTable& table : symlinks) {
    SANDFORGE_TRY_STATUS(table.only({"path", "target"}));
    RecipeSymlink link;
    SANDFORGE_TRY(link.path, checked(table, "path", is_image_path, kPathRule));
    SANDFORGE_TRY(link.target, checked(table, "target", is_target, "must be a path"));
    recipe.symlinks.push_back(std::move(link));
  }
  return {};
}

base::Status read_kernel(const TomlTable& top, Recipe& recipe) {
  if (top.has("kernel")) {
    SANDFORGE_TRY(const std::string name, top.required_string("kernel"));
    const auto kind = kernel_kind_of(name);
    if (!kind || *kind == KernelKind::Given) return top.error_at("kernel", "must be stock or built");
    recipe.kernel = *kind;
  }
  if (top.has("kernel_source") || recipe.kernel == KernelKind::Built) {
    SANDFORGE_TRY(recipe.kernel_source, checked(top, "kernel_source", is_package, "must be the name of a package"));
  }
  return {};
}

base::Result<Recipe> read_recipe(const TomlTable& top) {
  SANDFORGE_TRY_STATUS(top.only({"suite", "variant", "packages", "kernel", "kernel_package", "kernel_source", "modules",
                                 "mount_modules", "hostname", "mirror", "apt_sources", "file", "symlink"}));
  Recipe recipe;
  SANDFORGE_TRY(recipe.suite, checked(top, "suite", is_suite, "must be a suite of Debian, such as \"bookworm\""));
  SANDFORGE_TRY(recipe.variant,
                checked(top, "variant", is_variant, "must be apt, essential, minbase, buildd, important or standard"));
  SANDFORGE_TRY(recipe.packages, checked_list(top, "packages", is_package, "the name of a package"));
  SANDFORGE_TRY_STATUS(read_kernel(top, recipe));
  SANDFORGE_TRY(recipe.kernel_package, checked(top, "kernel_package", is_package, "must be the name of a package"));
  SANDFORGE_TRY(recipe.modules.boot, checked_list(top, "modules", is_module, "the name of a kernel module"));
  SANDFORGE_TRY(recipe.modules.mounts, checked_list(top, "mount_modules", is_module, "the name of a kernel module"));
  SANDFORGE_TRY(recipe.hostname, checked(top, "hostname", is_hostname, "must be a host name"));
  SANDFORGE_TRY(recipe.mirrors, checked_list(top, "mirror", is_mirror, "a URI or a line \"deb URI SUITE COMPONENT\""));
  SANDFORGE_TRY(recipe.apt_sources, top.string("apt_sources"));
  if (recipe.apt_sources.size() > limits::kRecipeContentMax / 4 || recipe.apt_sources.find('\0') != std::string::npos) {
    return top.error_at("apt_sources", "must be text of 16 KiB at most");
  }
  SANDFORGE_TRY_STATUS(read_files(top, recipe));
  return recipe;
}

}  // namespace

std::string_view default_recipe_text() noexcept { return kDefaultRecipeText; }

base::Result<Recipe> parse_recipe(std::string_view text, std::string name) {
  if (text.size() > limits::kRecipeBytesMax) {
    return base::make_error(base::Code::InvalidArgument, "invalid_recipe", name + ": a recipe has at most 1 MiB");
  }
  auto document = TomlDocument::parse(text, std::move(name));
  auto recipe = document ? read_recipe(document->top()) : base::Result<Recipe>(std::move(document).error());
  if (!recipe) recipe.error().reason = "invalid_recipe";
  return recipe;
}

std::string digest_of(const Recipe& recipe) {
  Sha256 hash;
  // Length before content: no two recipes give the same stream.
  const auto add = [&](std::string_view text) {
    hash.update(fmt::format("{}:", text.size()));
    hash.update(text);
  };
  const auto add_list = [&](const std::vector<std::string>& list) {
    hash.update(fmt::format("[{}]", list.size()));
    for (const std::string& text : list) add(text);
  };
  hash.update(fmt::format("sandforge image builder {}\n", kBuilderFormat));
  add(kFinishRootScript);
  for (const std::string* text :
       {&recipe.suite, &recipe.variant, &recipe.kernel_package, &recipe.hostname, &recipe.apt_sources}) {
    add(*text);
  }
  // A stock kernel's digest is as it was before there was a choice.
  if (recipe.kernel == KernelKind::Built) {
    add(fmt::format("built {}", kKernelBuildFormat));
    add(recipe.kernel_source);
    for (const std::string_view line : config_lines(kKernelConfig)) add(line);
  }
  // The order of packages says nothing; that of modules is the order in which they load.
  std::vector<std::string> packages = recipe.packages;
  std::sort(packages.begin(), packages.end());
  for (const auto* list : {&std::as_const(packages), &recipe.modules.boot, &recipe.modules.mounts, &recipe.mirrors}) {
    add_list(*list);
  }
  for (const RecipeFile& file : recipe.files) {
    add(file.path);
    add(file.content);
    hash.update(fmt::format("file {:o}", file.mode));
  }
  for (const RecipeSymlink& link : recipe.symlinks) {
    add(link.path);
    add(link.target);
    hash.update("symlink");
  }
  return hash.finish();
}

}  // namespace sandforge::image
