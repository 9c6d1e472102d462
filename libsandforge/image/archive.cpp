// SPDX-License-Identifier: Apache-2.0
#include "image/archive.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "image/bzimage.hpp"
#include "image/digest.hpp"
#include "image/file_io.hpp"
#include "image/kernel.hpp"
#include "image/merge.hpp"
#include "image/oci.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kIndexDepthMax = 3;  // an index within an index is common, deeper ones are not

base::Error too_large() {
  return base::make_error(base::Code::Exhausted, "import_too_large",
                          fmt::format("the root file system has more than {} GiB or {} entries",
                                      limits::kImportBytesMax / limits::kGiB, limits::kImportEntriesMax));
}

std::string_view take_word(std::string_view& line) {
  const std::size_t start = std::min(line.find_first_not_of(' '), line.size());
  const std::size_t end = std::min(line.find(' ', start), line.size());
  const std::string_view word = line.substr(start, end - start);
  line.remove_prefix(end);
  return word;
}

bool climbs(std::string_view name) {
  while (!name.empty()) {
    const std::string_view part = name.substr(0, name.find('/'));
    if (part == "..") return true;
    name.remove_prefix(std::min(part.size() + 1, name.size()));
  }
  return false;
}

// One line of `tar -tv`: mode, owner/group, size (or "major,minor"), date, time, name; of a link also its target.
base::Status check_member(std::string_view line, ImportBudget& budget) {
  const std::string_view mode = take_word(line);
  take_word(line);
  const std::string_view size = take_word(line);
  take_word(line);
  take_word(line);
  if (!line.empty()) line.remove_prefix(1);
  // A link's target may climb (within the root that is fine); where it begins cannot be told if the name holds " -> ".
  const bool symlink = mode.starts_with('l');
  const std::string_view name = symlink ? line.substr(0, line.find(" -> ")) : line;
  if (name.starts_with('/') || climbs(name)) {
    return base::make_error(base::Code::InvalidArgument, "unsafe_archive",
                            fmt::format("the archive has a member outside its root: {}", name));
  }
  std::uint64_t bytes = 0;
  std::from_chars(size.data(), size.data() + size.size(), bytes);
  const bool regular = mode.starts_with('-');
  if (budget.entries == 0 || (regular && bytes > budget.bytes)) return too_large();
  --budget.entries;
  if (regular) budget.bytes -= bytes;
  return {};
}

base::Error oci_corrupt(std::string text) {
  return base::make_error(base::Code::Corrupt, "oci_corrupt", "OCI layout: " + std::move(text));
}

class OciLayout {
 public:
  explicit OciLayout(const fs::path& dir) : dir_(dir) {}

  base::Result<std::vector<OciDescriptor>> layers() const {
    SANDFORGE_TRY(std::string index, read_file(dir_ / "index.json", limits::kOciJsonMax));
    for (std::size_t depth = 0; depth < kIndexDepthMax; ++depth) {
      SANDFORGE_TRY(const std::vector<OciDescriptor> entries, parse_oci_index(index));
      const auto fits = [](const OciDescriptor& entry) {
        return (entry.os.empty() || entry.os == "linux") &&
               (entry.architecture.empty() || entry.architecture == "amd64") &&
               (entry.is_index() || entry.is_manifest());
      };
      const auto found = std::find_if(entries.begin(), entries.end(), fits);
      if (found == entries.end()) {
        return base::make_error(base::Code::Unsupported, "oci_platform", "the OCI layout has no image for linux/amd64",
                                "export the image for linux/amd64");
      }
      SANDFORGE_TRY(const fs::path file, checked_blob(*found));
      SANDFORGE_TRY(std::string text, read_file(file, limits::kOciJsonMax));
      if (found->is_manifest()) return parse_oci_manifest(text);
      index = std::move(text);
    }
    return oci_corrupt("its indexes nest too deeply");
  }

  // The blob's path, when its size and digest are what the descriptor says.
  base::Result<fs::path> checked_blob(const OciDescriptor& descriptor) const {
    const fs::path file = dir_ / "blobs/sha256" / hex_of(descriptor.digest);
    std::error_code error;
    if (fs::symlink_status(file, error).type() != fs::file_type::regular) {
      return oci_corrupt("blob " + descriptor.digest + " is missing or no regular file");
    }
    SANDFORGE_TRY(const std::uint64_t bytes, file_bytes(file));
    if (bytes != descriptor.bytes) return oci_corrupt("blob " + descriptor.digest + " has another size than it should");
    SANDFORGE_TRY(const std::string digest, sha256_of_file(file));
    if (digest != descriptor.digest) return oci_corrupt("blob " + descriptor.digest + " has another digest: " + digest);
    return file;
  }

 private:
  fs::path dir_;
};

}  // namespace

base::Status unpack_tar(const fs::path& tar, const fs::path& into, const fs::path& listing, ImportBudget& budget) {
  // tar finds out the compression by itself, and runs the tool for it.
  ToolRun list{.tool = kTar, .args = {"--numeric-owner", "-tvf", tar.string()}, .stdout_file = listing};
  if (auto listed = run_tool(list); !listed) {
    if (listed.error().reason != "tool_failed") return std::move(listed).error();
    return base::make_error(
        base::Code::InvalidArgument, "not_an_image",
        fmt::format("{} is no tar archive that can be read: {}", tar.string(), listed.error().message),
        "give a directory, a tar archive or an OCI layout");
  }
  std::ifstream members(listing);
  for (std::string line; std::getline(members, line);) SANDFORGE_TRY_STATUS(check_member(line, budget));

  SANDFORGE_TRY_STATUS(make_dirs(into));
  // Into an empty directory GNU tar follows no link out of it: links that lead elsewhere are made last.
  ToolRun extract{.tool = kTar,
                  .args = {"--numeric-owner", "--same-permissions", "--delay-directory-restore", "-C", into.string(),
                           "-xf", tar.string()}};
  auto extracted = run_tool(extract);
  if (!extracted) return std::move(extracted).error();
  return {};
}

bool is_oci_layout(const fs::path& directory) {
  std::error_code error;
  return fs::is_regular_file(directory / "oci-layout", error) && fs::is_regular_file(directory / "index.json", error);
}

base::Status unpack_oci(const fs::path& layout, const fs::path& into, const fs::path& temp, ImportBudget& budget,
                        const Progress& progress) {
  const OciLayout source(layout);
  SANDFORGE_TRY(const std::vector<OciDescriptor> layers, source.layers());
  SANDFORGE_TRY_STATUS(make_dirs(into));
  const fs::path unpacked = temp / "layer";
  for (std::size_t i = 0; i < layers.size(); ++i) {
    if (progress) progress("unpack layers", i, layers.size());
    SANDFORGE_TRY(const fs::path blob, source.checked_blob(layers[i]));
    SANDFORGE_TRY_STATUS(unpack_tar(blob, unpacked, temp / "members", budget));
    SANDFORGE_TRY_STATUS(apply_layer(unpacked, into));
    remove_tree(unpacked);
  }
  if (progress) progress("unpack layers", layers.size(), layers.size());
  return {};
}

}  // namespace sandforge::image
