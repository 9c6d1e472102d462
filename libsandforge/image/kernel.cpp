// SPDX-License-Identifier: Apache-2.0
#include "image/kernel.hpp"

#include <fmt/format.h>

#include "base/limits.hpp"
#include "image/file_io.hpp"
#include "image/private_apt.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

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
  constexpr std::string_view kImages = "linux-image-";
  if (progress) progress(kStep, 0, 3);
  SANDFORGE_TRY(const PrivateApt apt, PrivateApt::make(temp / "apt", sources));
  SANDFORGE_TRY_STATUS(apt.update());
  if (progress) progress(kStep, 1, 3);
  SANDFORGE_TRY(const std::string concrete, apt.concrete(package, kImages));
  SANDFORGE_TRY(const fs::path deb, apt.download(concrete));
  if (progress) progress(kStep, 2, 3);

  KernelPackage kernel;
  kernel.tree = temp / "kernel";
  ToolRun extract{.tool = kDpkgDeb, .args = {"-x", deb.string(), kernel.tree.string()}};
  SANDFORGE_TRY(const std::string extracted, run_tool(extract));
  constexpr std::string_view kImagePrefix = "vmlinuz-";
  auto image = only_file(kernel.tree / "boot", kImagePrefix, "");
  if (!image) return no_kernel_package(package, "there is no /boot/vmlinuz in " + concrete);
  kernel.image = std::move(image).value();
  kernel.release = kernel.image.filename().string().substr(kImagePrefix.size());
  if (progress) progress(kStep, 3, 3);
  return kernel;
}

}  // namespace sandforge::image
