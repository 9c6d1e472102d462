// SPDX-License-Identifier: Apache-2.0
#include "image/apt_sources.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kComponent = "main";
constexpr std::string_view kSpace = " \t\r";
constexpr std::size_t kSourceBytesMax = 1024 * 1024;

std::vector<std::string_view> words_of(std::string_view text) {
  std::vector<std::string_view> words;
  for (;;) {
    const std::size_t start = text.find_first_not_of(" \t\r\n");
    if (start == std::string_view::npos) return words;
    text.remove_prefix(start);
    const std::size_t end = std::min(text.find_first_of(" \t\r\n"), text.size());
    words.push_back(text.substr(0, end));
    text.remove_prefix(end);
  }
}

std::string_view next_line(std::string_view& text) {
  const std::size_t end = std::min(text.find('\n'), text.size());
  const std::string_view line = text.substr(0, end);
  text.remove_prefix(std::min(end + 1, text.size()));
  return line;
}

// The suite itself, and what apt is usually told beside it. Security of old suites is "SUITE/updates".
bool belongs(std::string_view candidate, std::string_view suite) {
  if (!candidate.starts_with(suite)) return false;
  candidate.remove_prefix(suite.size());
  return candidate.empty() || candidate == "-updates" || candidate == "-security" || candidate == "/updates";
}

bool has(const std::vector<std::string_view>& words, std::string_view word) {
  return std::find(words.begin(), words.end(), word) != words.end();
}

using Field = std::pair<std::string, std::string>;

bool is_field(const Field& field, std::string_view name) {
  return std::equal(field.first.begin(), field.first.end(), name.begin(), name.end(), [](char a, char b) {
    const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; };
    return lower(a) == lower(b);
  });
}

// One stanza for the suite, or "" when it says nothing about it.
std::string select_stanza(const std::vector<Field>& fields, std::string_view suite) {
  std::string kept;
  std::vector<std::string_view> suites;
  bool binary = false, component = false, enabled = true;
  for (const Field& field : fields) {
    const auto words = words_of(field.second);
    if (is_field(field, "Types")) {
      binary = has(words, "deb");
    } else if (is_field(field, "Suites")) {
      std::copy_if(words.begin(), words.end(), std::back_inserter(suites),
                   [&](std::string_view word) { return belongs(word, suite); });
    } else if (is_field(field, "Components")) {
      component = has(words, kComponent);
    } else if (is_field(field, "Enabled")) {
      enabled = !has(words, "no") && !has(words, "false") && !has(words, "0");
    } else {
      kept += fmt::format("{}:{}\n", field.first, field.second);
    }
  }
  if (!binary || !component || !enabled || suites.empty()) return {};
  return fmt::format("Types: deb\nSuites: {}\nComponents: {}\n{}\n", fmt::join(suites, " "), kComponent, kept);
}

base::Result<AptSources> from_mirrors(const Recipe& recipe) {
  AptSources sources;
  for (const std::string& mirror : recipe.mirrors) {
    sources.one_line +=
        mirror.starts_with("deb ") ? mirror + "\n" : fmt::format("deb {} {} {}\n", mirror, recipe.suite, kComponent);
  }
  return sources;
}

std::string read_text(const fs::path& path) {
  std::ifstream file(path);
  std::string text(std::istreambuf_iterator<char>(file), {});
  text.resize(std::min(text.size(), kSourceBytesMax));
  return text;
}

}  // namespace

AptSources select_one_line(std::string_view list, std::string_view suite) {
  AptSources sources;
  while (!list.empty()) {
    std::string_view line = next_line(list);
    line = line.substr(0, line.find('#'));
    std::string_view options;
    if (const std::size_t open = line.find('['); open != std::string_view::npos) {
      const std::size_t close = line.find(']', open);
      if (close == std::string_view::npos || words_of(line.substr(0, open)).size() != 1) continue;
      options = line.substr(open, close - open + 1);
      line = line.substr(close + 1);
      if (!has(words_of(line), kComponent)) continue;
      const auto words = words_of(line);
      if (words.size() < 3 || !belongs(words[1], suite)) continue;
      sources.one_line += fmt::format("deb {} {} {} {}\n", options, words[0], words[1], kComponent);
      continue;
    }
    const auto words = words_of(line);
    if (words.size() < 4 || words[0] != "deb" || !belongs(words[2], suite) || !has(words, kComponent)) continue;
    sources.one_line += fmt::format("deb {} {} {}\n", words[1], words[2], kComponent);
  }
  return sources;
}

AptSources select_deb822(std::string_view text, std::string_view suite) {
  AptSources sources;
  std::vector<Field> fields;
  while (!text.empty()) {
    const std::string_view line = next_line(text);
    if (line.starts_with('#')) continue;
    const bool blank = line.find_first_not_of(kSpace) == std::string_view::npos;
    if (!blank && (line.front() == ' ' || line.front() == '\t')) {
      if (!fields.empty()) fields.back().second += "\n" + std::string(line);
      continue;
    }
    if (const std::size_t colon = line.find(':'); !blank && colon != std::string_view::npos) {
      fields.emplace_back(line.substr(0, colon), line.substr(colon + 1));
    }
    if (blank || text.empty()) {
      sources.deb822 += select_stanza(fields, suite);
      fields.clear();
    }
  }
  sources.deb822 += select_stanza(fields, suite);
  return sources;
}

base::Result<AptSources> sources_of(const Recipe& recipe, const fs::path& apt_dir) {
  if (!recipe.mirrors.empty()) return from_mirrors(recipe);
  std::vector<fs::path> files = {apt_dir / "sources.list"};
  std::error_code error;
  for (auto entry = fs::directory_iterator(apt_dir / "sources.list.d", error);
       !error && entry != fs::directory_iterator(); entry.increment(error)) {
    files.push_back(entry->path());
  }
  std::sort(files.begin() + 1, files.end());
  AptSources all;
  for (const fs::path& file : files) {
    if (file.extension() == ".list") all.one_line += select_one_line(read_text(file), recipe.suite).one_line;
    if (file.extension() == ".sources") all.deb822 += select_deb822(read_text(file), recipe.suite).deb822;
  }
  if (!all.empty()) return all;
  return base::make_error(base::Code::Unsupported, "no_package_source",
                          fmt::format("apt on this host is not configured for \"{}\", component main", recipe.suite),
                          "set `mirror` in the recipe to the URI of a mirror");
}

}  // namespace sandforge::image
