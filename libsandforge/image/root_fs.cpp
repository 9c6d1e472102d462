// SPDX-License-Identifier: Apache-2.0
#include "image/root_fs.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <unistd.h>

#include <array>

#include "image/embedded.hpp"
#include "image/file_io.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

// A constant for a file system's UUID: derived from nothing, so that equal content gives equal bytes.
constexpr std::string_view kUuid = "5a6dfe00-0000-4000-8000-000000000001";

constexpr long long kLatestTime = 4'102'444'800;  // the year 2100

std::string shell_quoted(std::string_view text) {
  std::string out = "'";
  for (const char c : text) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::vector<std::string> mkfs_args(Times times, const fs::path& image, const fs::path& tree, bool all_root) {
  std::vector<std::string> args = {"--quiet", "-x-1", fmt::format("-U{}", kUuid)};
  if (times == Times::Fixed) args.push_back(fmt::format("-T{}", kSourceDateEpoch));
  if (times == Times::Kept) args.emplace_back("--preserve-mtime");
  // The guest mounts its own there.
  args.emplace_back("--exclude-regex=^/?(dev|proc|run|sys)/.");
  if (all_root) args.emplace_back("--all-root");
  args.push_back(image.string());
  args.push_back(tree.string());
  return args;
}

// Turns mmdebstrap's messages into ticks: its own stages, and the packages unpacked and configured in between.
class BootstrapProgress {
 public:
  explicit BootstrapProgress(const Progress& progress) : progress_(progress) { report(); }

  void line(std::string_view text) {
    constexpr std::array<std::string_view, 8> kStages = {"running apt-get update", "downloading packages",
                                                         "extracting archives",    "installing essential",
                                                         "installing remaining",   "running --chrooted-customize-hook",
                                                         "cleaning package",       "success in"};
    for (std::size_t i = stage_; i < kStages.size(); ++i) {
      if (text.find(kStages[i]) == std::string_view::npos) continue;
      stage_ = i + 1;
      return report();
    }
  }

 private:
  void report() const {
    if (progress_) progress_("bootstrap root file system", stage_, 8);
  }
  const Progress& progress_;
  std::size_t stage_ = 0;
};

// Whose these are depends on whether apt's own user could reach the directory of the build. apt makes them anew.
constexpr std::array<const char*, 2> kAptPartial = {"var/cache/apt/archives/partial", "var/lib/apt/lists/partial"};

// For who is not root: owners other than himself exist only in a user namespace, which mmdebstrap's helper makes. The
// archive's device nodes cannot be made there, and are of no use in a guest.
base::Status erofs_from_tar(const fs::path& tar, const fs::path& image, const Progress& progress) {
  if (progress) progress("write erofs", 0, 1);
  std::string mkfs;
  for (const std::string& word : mkfs_args(Times::Fixed, "\"$d/image\"", "\"$d/root\"", false)) {
    mkfs += " " + (word.starts_with('"') ? word : shell_quoted(word));  // the two paths are the shell's to expand
  }
  ToolRun run{.tool = kMmdebstrap};
  run.args = {"--unshare-helper", "sh", "-c",
              "set -e; d=$(mktemp -d); trap 'rm -rf \"$d\"' EXIT; mkdir \"$d/root\"; tar -C \"$d/root\" -xf - "
              "--numeric-owner --same-permissions --exclude='./dev/*'; cd \"$d/root\"; rm -rf " +
                  fmt::format("{}; cd /; mkfs.erofs", fmt::join(kAptPartial, " ")) + mkfs + " >&2; cat \"$d/image\""};
  run.stdin_file = tar;
  run.stdout_file = image;
  run.starts_others = true;
  auto output = run_tool(run);
  if (!output) return std::move(output).error();
  if (progress) progress("write erofs", 1, 1);
  return {};
}

}  // namespace

std::string finish_script(const Recipe& recipe) {
  std::string script = kFinishRootScript;
  const auto write = [&](std::string_view path, std::string_view content, unsigned mode) {
    const std::string target = shell_quoted(path);
    script += fmt::format("rm -f {0}\nmkdir -p \"$(dirname {0})\"\nprintf %s {1} >{0}\nchmod {2:04o} {0}\n", target,
                          shell_quoted(content), mode);
  };
  script += "\n# The recipe's own.\n";
  write("/etc/hostname", recipe.hostname + "\n", 0644);
  write("/etc/apt/sources.list", recipe.apt_sources, 0644);
  for (const RecipeFile& file : recipe.files) write(file.path, file.content, file.mode);
  for (const RecipeSymlink& link : recipe.symlinks) {
    script += fmt::format("mkdir -p \"$(dirname {0})\"\nln -sfn {1} {0}\n", shell_quoted(link.path),
                          shell_quoted(link.target));
  }
  return script;
}

base::Status write_erofs(const fs::path& tree, const fs::path& image, Times times, const Progress& progress) {
  if (progress) progress("write erofs", 0, 1);
  ToolRun run{.tool = kMkfsErofs, .args = mkfs_args(times, image, tree, ::geteuid() != 0)};
  // Times later than this become this, and it stands as the time of the file system itself, which would be the present.
  if (times == Times::Kept) run.env = {fmt::format("SOURCE_DATE_EPOCH={}", kLatestTime)};
  auto output = run_tool(run);
  if (!output) return std::move(output).error();
  if (progress) progress("write erofs", 1, 1);
  return {};
}

base::Status build_root(const Recipe& recipe, const AptSources& sources, const fs::path& temp, const fs::path& image,
                        const Progress& progress) {
  const bool root = ::geteuid() == 0;
  const fs::path target = temp / (root ? "root" : "root.tar");
  ToolRun run{.tool = kMmdebstrap};
  run.args = {root ? "--mode=root" : "--mode=unshare",
              root ? "--format=directory" : "--format=tar",
              "--variant=" + recipe.variant,
              "--architectures=amd64",
              fmt::format("--include={}", fmt::join(recipe.packages, ",")),
              "--aptopt=Acquire::Languages \"none\"",
              "--verbose"};
  for (const char* path : {"doc", "man", "info", "locale"}) {
    run.args.push_back(fmt::format("--dpkgopt=path-exclude=/usr/share/{}/*", path));
  }
  run.args.push_back("--chrooted-customize-hook=" + finish_script(recipe));
  run.args.push_back(recipe.suite);
  run.args.push_back(target.string());
  const std::array<std::pair<const char*, const std::string*>, 2> files = {
      {{"host.list", &sources.one_line}, {"host.sources", &sources.deb822}}};
  for (const auto& [name, text] : files) {
    if (text->empty()) continue;
    SANDFORGE_TRY_STATUS(write_file(temp / name, *text));
    run.args.push_back((temp / name).string());
  }
  run.env = {fmt::format("SOURCE_DATE_EPOCH={}", kSourceDateEpoch)};
  run.starts_others = true;
  BootstrapProgress ticks(progress);
  run.on_line = [&](std::string_view line) { ticks.line(line); };
  auto output = run_tool(run);
  if (!output) return std::move(output).error();
  if (!root) return erofs_from_tar(target, image, progress);
  std::error_code error;
  for (const char* path : kAptPartial) fs::remove_all(target / path, error);
  if (error) return base::os_error("cannot tidy the root file system", error.value());
  return write_erofs(target, image, Times::Fixed, progress);
}

}  // namespace sandforge::image
