// SPDX-License-Identifier: Apache-2.0
#include "image/private_apt.hpp"

#include <fmt/format.h>

#include "image/file_io.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

base::Result<PrivateApt> PrivateApt::make(const fs::path& dir, const AptSources& sources) {
  for (const char* part : {"etc/sources.list.d", "lists/partial", "cache/archives/partial", "download"}) {
    SANDFORGE_TRY_STATUS(make_dirs(dir / part));
  }
  SANDFORGE_TRY_STATUS(write_file(dir / "status", ""));
  SANDFORGE_TRY_STATUS(write_file(dir / "etc/sources.list", sources.one_line));
  SANDFORGE_TRY_STATUS(write_file(dir / "etc/sources.list.d/host.sources", sources.deb822));
  return PrivateApt(dir);
}

base::Result<std::string> PrivateApt::run(const Tool& tool, std::vector<std::string> args) const {
  ToolRun run{.tool = tool};
  const auto option = [&](std::string_view name, const fs::path& value) {
    run.args.push_back("-o");
    run.args.push_back(fmt::format("{}={}", name, value.string()));
  };
  option("Dir::Etc::SourceList", dir_ / "etc/sources.list");
  option("Dir::Etc::SourceParts", dir_ / "etc/sources.list.d");
  option("Dir::Etc::Preferences", "/dev/null");
  option("Dir::Etc::PreferencesParts", "/dev/null");
  option("Dir::State", dir_);
  option("Dir::State::Lists", dir_ / "lists");
  option("Dir::State::status", dir_ / "status");
  option("Dir::Cache", dir_ / "cache");
  // Package hooks of the host (cleaning caches and the like) have no business here.
  run.args.insert(run.args.end(), {"-o", "APT::Architecture=amd64", "-o", "APT::Architectures=amd64", "-o",
                                   "APT::Update::Post-Invoke=", "-o", "APT::Update::Post-Invoke-Success=", "-o",
                                   "Acquire::Languages=none", "-o", "APT::Update::Error-Mode=any"});
  run.args.insert(run.args.end(), args.begin(), args.end());
  run.cwd = dir_ / "download";
  run.starts_others = true;
  return run_tool(run);
}

base::Status PrivateApt::update() const {
  SANDFORGE_TRY(const std::string ignored, run(kApt, {"-q", "update"}));
  return {};
}

base::Result<std::string> PrivateApt::concrete(std::string_view package, std::string_view prefix) const {
  auto depends = run(kAptCache, {"depends", "--", std::string(package)});
  if (!depends && depends.error().reason == "tool_failed") return no_kernel_package(package, depends.error().message);
  if (!depends) return std::move(depends).error();
  const std::string_view found = parse_depends(depends.value(), prefix);
  return std::string(found.empty() ? package : found);
}

base::Result<std::string> PrivateApt::version_of(const std::string& package) const {
  auto shown = run(kAptCache, {"show", "--no-all-versions", "--", package});
  if (!shown && shown.error().reason == "tool_failed") return no_kernel_package(package, shown.error().message);
  if (!shown) return std::move(shown).error();
  const std::string_view version = parse_version(shown.value());
  if (version.empty()) return no_kernel_package(package, "apt knows no version of it");
  return std::string(version);
}

base::Result<fs::path> PrivateApt::download(const std::string& package) const {
  SANDFORGE_TRY(const std::string ignored, run(kApt, {"-q", "download", "--", package}));
  return only_file(dir_ / "download", "", ".deb");
}

base::Error no_kernel_package(std::string_view package, std::string_view why) {
  return base::make_error(base::Code::NotFound, "kernel_package_missing",
                          fmt::format("kernel package {}: {}", package, why),
                          "check `kernel_package`, `kernel_source` and `suite` in the recipe");
}

std::string_view parse_depends(std::string_view output, std::string_view prefix) {
  const std::string wanted = fmt::format("Depends: {}", prefix);
  const std::size_t found = output.find(wanted);
  if (found == std::string_view::npos) return {};
  const std::string_view name = output.substr(found + wanted.size() - prefix.size());
  return name.substr(0, name.find_first_of(" \n"));
}

std::string_view parse_version(std::string_view output) {
  constexpr std::string_view kField = "\nVersion: ";
  const std::size_t found = output.find(kField);
  if (found == std::string_view::npos) return {};
  const std::string_view version = output.substr(found + kField.size());
  return version.substr(0, version.find_first_of(" \n"));
}

base::Result<fs::path> only_file(const fs::path& dir, std::string_view prefix, std::string_view suffix) {
  fs::path found;
  std::error_code error;
  for (auto entry = fs::directory_iterator(dir, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(prefix) || !name.ends_with(suffix)) continue;
    if (!found.empty()) return base::make_error(base::Code::Internal, {}, "more than one file in " + dir.string());
    found = entry->path();
  }
  if (found.empty()) return base::make_error(base::Code::NotFound, {}, "nothing was found in " + dir.string());
  return found;
}

}  // namespace sandforge::image
