// SPDX-License-Identifier: Apache-2.0
#include "image/kernel.hpp"

#include <fmt/format.h>

#include "base/limits.hpp"
#include "image/file_io.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

// apt with its own lists, cache and sources in a directory, but the host's configuration (proxies, keys).
class PrivateApt {
 public:
  static base::Result<PrivateApt> make(const fs::path& dir, const AptSources& sources) {
    for (const char* part : {"etc/sources.list.d", "lists/partial", "cache/archives/partial", "download"}) {
      SANDFORGE_TRY_STATUS(make_dirs(dir / part));
    }
    SANDFORGE_TRY_STATUS(write_file(dir / "status", ""));
    SANDFORGE_TRY_STATUS(write_file(dir / "etc/sources.list", sources.one_line));
    SANDFORGE_TRY_STATUS(write_file(dir / "etc/sources.list.d/host.sources", sources.deb822));
    return PrivateApt(dir);
  }

  base::Result<std::string> run(const Tool& tool, std::vector<std::string> args) const {
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

  fs::path downloads() const { return dir_ / "download"; }

 private:
  explicit PrivateApt(fs::path dir) : dir_(std::move(dir)) {}
  fs::path dir_;
};

base::Error no_package(std::string_view package, std::string_view why) {
  return base::make_error(base::Code::NotFound, "kernel_package_missing",
                          fmt::format("kernel package {}: {}", package, why),
                          "check `kernel_package` and `suite` in the recipe");
}

// Of `apt-cache depends`: the first "  Depends: linux-image-…".
std::string_view concrete_package(std::string_view output) {
  constexpr std::string_view kDepends = "Depends: linux-image-";
  constexpr std::string_view kKept = "linux-image-";
  const std::size_t found = output.find(kDepends);
  if (found == std::string_view::npos) return {};
  const std::string_view name = output.substr(found + kDepends.size() - kKept.size());
  return name.substr(0, name.find_first_of(" \n"));
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

}  // namespace

base::Status decompress(Compression compression, const fs::path& from, const fs::path& to) {
  ToolRun run{.tool = kGzip, .args = {"-dc"}, .stdin_file = from, .stdout_file = to};
  switch (compression) {
    case Compression::None:
      return base::make_error(base::Code::InvalidArgument, {}, from.string() + " is not compressed");
    case Compression::Gzip: break;
    case Compression::Xz: run.tool = kXz; break;
    case Compression::Lz4: run.tool = kLz4; break;
    case Compression::Zstd: run.tool = kZstd; break;
  }
  auto output = run_tool(run);
  if (!output) return std::move(output).error();
  return {};
}

base::Status unpack_kernel(const fs::path& image, const fs::path& vmlinux, const fs::path& temp) {
  SANDFORGE_TRY(std::string bytes, read_file(image, limits::kKernelBytesMax));
  if (is_bzimage(bytes)) {
    SANDFORGE_TRY(const Payload payload, find_payload(bytes));
    if (payload.compression == Compression::None) {
      bytes = std::string(payload.bytes);
    } else {
      const fs::path packed = temp / "vmlinux.packed", unpacked = temp / "vmlinux.unpacked";
      SANDFORGE_TRY_STATUS(write_file(packed, payload.bytes));
      SANDFORGE_TRY_STATUS(decompress(payload.compression, packed, unpacked));
      SANDFORGE_TRY(bytes, read_file(unpacked, limits::kKernelBytesMax));
    }
  }
  if (!is_x86_64_elf(bytes)) {
    return base::make_error(base::Code::InvalidArgument, "not_a_kernel",
                            image.string() + " is neither a bzImage nor an x86-64 vmlinux",
                            "give the vmlinuz of a kernel package, or the vmlinux of a kernel build");
  }
  return write_file(vmlinux, bytes);
}

std::string find_release(std::string_view vmlinux) {
  constexpr std::string_view kBanner = "Linux version ";
  for (std::size_t at = vmlinux.find(kBanner); at != std::string_view::npos; at = vmlinux.find(kBanner, at + 1)) {
    std::string_view release = vmlinux.substr(at + kBanner.size(), limits::kImageWordMax);
    const std::size_t end = release.find(' ');
    if (end == std::string_view::npos) continue;
    release = release.substr(0, end);
    // The text also stands in format strings, as "Linux version %s".
    if (!release.empty() && release.front() >= '0' && release.front() <= '9') return std::string(release);
  }
  return {};
}

base::Result<KernelPackage> fetch_kernel(const AptSources& sources, std::string_view package, const fs::path& temp,
                                         const Progress& progress) {
  constexpr std::string_view kStep = "download kernel";
  if (progress) progress(kStep, 0, 3);
  SANDFORGE_TRY(const PrivateApt apt, PrivateApt::make(temp / "apt", sources));
  SANDFORGE_TRY(const std::string updated, apt.run(kApt, {"-q", "update"}));
  if (progress) progress(kStep, 1, 3);
  const auto depends = apt.run(kAptCache, {"depends", "--", std::string(package)});
  if (!depends && depends.error().reason == "tool_failed") return no_package(package, depends.error().message);
  if (!depends) return depends.error();
  std::string_view concrete = concrete_package(depends.value());
  if (concrete.empty()) concrete = package;
  SANDFORGE_TRY(const std::string downloaded, apt.run(kApt, {"-q", "download", "--", std::string(concrete)}));
  if (progress) progress(kStep, 2, 3);

  SANDFORGE_TRY(const fs::path deb, only_file(apt.downloads(), "", ".deb"));
  KernelPackage kernel;
  kernel.tree = temp / "kernel";
  ToolRun extract{.tool = kDpkgDeb, .args = {"-x", deb.string(), kernel.tree.string()}};
  SANDFORGE_TRY(const std::string extracted, run_tool(extract));
  constexpr std::string_view kImagePrefix = "vmlinuz-";
  auto image = only_file(kernel.tree / "boot", kImagePrefix, "");
  if (!image) return no_package(package, "there is no /boot/vmlinuz in " + std::string(concrete));
  kernel.image = std::move(image).value();
  kernel.release = kernel.image.filename().string().substr(kImagePrefix.size());
  if (progress) progress(kStep, 3, 3);
  return kernel;
}

}  // namespace sandforge::image
