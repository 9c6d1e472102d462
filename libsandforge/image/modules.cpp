// SPDX-License-Identifier: Apache-2.0
#include "image/modules.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/limits.hpp"
#include "image/bzimage.hpp"
#include "image/cpio.hpp"
#include "image/file_io.hpp"
#include "image/kernel.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

// "virtio_ring.ko.xz" gives "virtio_ring".
std::string stem_of(const fs::path& file) {
  const std::string name = file.filename().string();
  return name.substr(0, name.find('.'));
}

base::Result<std::string> read_module(const fs::path& file, const fs::path& temp) {
  const std::string extension = file.extension().string();
  if (extension == ".ko") return read_file(file, limits::kModuleBytesMax);
  const fs::path plain = temp / "module.ko";
  const Compression compression = extension == ".xz"    ? Compression::Xz
                                  : extension == ".zst" ? Compression::Zstd
                                                        : Compression::Gzip;
  SANDFORGE_TRY_STATUS(decompress(compression, file, plain));
  return read_file(plain, limits::kModuleBytesMax);
}

// Whether a kernel takes modules without signature, by its configuration; no when that is not there.
bool takes_unsigned_modules(const fs::path& tree, std::string_view release) {
  const auto config = read_file(tree / "boot" / fmt::format("config-{}", release), limits::kModuleBytesMax);
  return config && config.value().find("\nCONFIG_MODULE_SIG_FORCE=y") == std::string::npos;
}

// Adds the files that `wanted` need to `files`, in load order; gives the names of those that there are not.
base::Result<std::vector<std::string>> find_modules(const fs::path& tree, std::string_view release,
                                                    const std::vector<std::string>& wanted, const fs::path& config,
                                                    std::vector<fs::path>& files) {
  std::vector<std::string> absent;
  for (const std::string& name : wanted) {
    ToolRun modprobe{
        .tool = kModprobe,
        .args = {"-C", config.string(), "-d", tree.string(), "-S", std::string(release), "--show-depends", "--", name}};
    const auto output = run_tool(modprobe);
    if (!output && output.error().reason != "tool_failed") return output.error();
    if (!output) absent.push_back(name);
    if (!output) continue;
    for (fs::path& file : parse_show_depends(output.value())) {
      if (std::find(files.begin(), files.end(), file) == files.end()) files.push_back(std::move(file));
    }
  }
  return absent;
}

}  // namespace

std::string_view without_signature(std::string_view module) {
  // SPEC: Linux, Documentation/admin-guide/module-signing.rst and struct module_signature: the module, signer, key id
  // and signature, five bytes of which two count signer and key id, three of padding, the length of the signature
  // (big-endian), the marker.
  constexpr std::string_view kMarker = "~Module signature appended~\n";
  constexpr std::size_t kTrailer = 12;
  if (!module.ends_with(kMarker) || module.size() < kMarker.size() + kTrailer) return module;
  std::string_view body = module.substr(0, module.size() - kMarker.size());
  const auto byte = [&body](std::size_t from_end) {
    return static_cast<std::uint64_t>(static_cast<unsigned char>(body[body.size() - from_end]));
  };
  const std::uint64_t signer = byte(9), key_id = byte(8);
  const std::uint64_t signature = byte(4) << 24 | byte(3) << 16 | byte(2) << 8 | byte(1);
  const std::uint64_t length = kTrailer + signer + key_id + signature;
  return length > body.size() ? module : body.substr(0, body.size() - static_cast<std::size_t>(length));
}

std::vector<fs::path> parse_show_depends(std::string_view output) {
  constexpr std::string_view kInsmod = "insmod ";
  std::vector<fs::path> files;
  while (!output.empty()) {
    std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    if (!line.starts_with(kInsmod)) continue;
    line.remove_prefix(kInsmod.size());
    files.emplace_back(line.substr(0, line.find(' ')));  // options may follow
  }
  return files;
}

base::Result<ModuleArchive> archive_modules(const fs::path& tree, std::string_view release, const ModulesWanted& wanted,
                                            const fs::path& temp) {
  ToolRun depmod{.tool = kDepmod, .args = {"-b", tree.string(), std::string(release)}};
  SANDFORGE_TRY(const std::string ignored, run_tool(depmod));

  // An empty configuration: the host's own would decide what a guest loads.
  const fs::path config = temp / "modprobe.d";
  SANDFORGE_TRY_STATUS(make_dirs(config));
  std::vector<fs::path> files;
  SANDFORGE_TRY(const std::vector<std::string> absent, find_modules(tree, release, wanted.boot, config, files));
  if (!absent.empty()) {
    return base::make_error(
        base::Code::NotFound, "module_missing",
        fmt::format("kernel {} has neither as module nor built in: {}", release, fmt::join(absent, ", ")),
        "use a kernel that has them");
  }
  const std::size_t at_boot = files.size();
  SANDFORGE_TRY([[maybe_unused]] const auto none, find_modules(tree, release, wanted.mounts, config, files));

  ModuleArchive result;
  CpioWriter archive;
  archive.directory("modules");
  const bool unsigned_too = takes_unsigned_modules(tree, release);
  std::string order, order_mounts;
  std::uint64_t total = 0;
  for (std::size_t i = 0; i < files.size(); ++i) {
    const std::string name = fmt::format("{:02}-{}.ko", i, stem_of(files[i]));
    (i < at_boot ? order : order_mounts) += name + "\n";
    if (i < at_boot) result.names.push_back(name);
    SANDFORGE_TRY(const std::string content, read_module(files[i], temp));
    total += content.size();
    if (total > limits::kModulesBytesMax) {
      return base::make_error(base::Code::Exhausted, "modules_too_large", "the kernel modules are too large together");
    }
    archive.file("modules/" + name, unsigned_too ? without_signature(content) : content);
  }
  archive.file("modules/order", order);
  archive.file("modules/order-mounts", order_mounts);
  result.cpio = std::move(archive).finish();
  return result;
}

}  // namespace sandforge::image
