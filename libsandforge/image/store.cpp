// SPDX-License-Identifier: Apache-2.0
#include "image/store.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <utility>

#include "base/directories.hpp"
#include "base/limits.hpp"
#include "image/digest.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

constexpr std::string_view kSuffix = ".toml";
constexpr const char* kKernels = "kernels";
constexpr std::string_view kBuildRemedy = "sandforged image build";

using Part = std::pair<std::string_view, const Blob Manifest::*>;
constexpr std::array<Part, 3> kParts = {
    {{"kernel", &Manifest::kernel}, {"modules", &Manifest::modules}, {"root file system", &Manifest::root}}};

base::Error missing(std::string_view name, const fs::path& dir) {
  return base::make_error(
      base::Code::NotFound, "image_missing", "there is no image \"" + std::string(name) + "\" in " + dir.string(),
      name == "default"
          ? std::string(kBuildRemedy)
          : std::string(kBuildRemedy) + " " + std::string(name) + " --recipe FILE, or sandforged image import");
}

base::Error corrupt(std::string_view name, std::string text) {
  return base::make_error(
      base::Code::Corrupt, "image_corrupt", "image \"" + std::string(name) + "\" is damaged: " + std::move(text),
      "remove it and make it again: sandforged image rm " + std::string(name) + " && sandforged image build");
}

base::Status check_name(std::string_view name) {
  if (is_valid_name(name)) return {};
  return base::make_error(base::Code::InvalidArgument, "invalid_image_name", "the name of an image is not valid",
                          "use 1 to 64 of a-z, 0-9, '.', '_' and '-', a letter or digit first");
}

}  // namespace

fs::path default_image_dir() {
  // As on a command line, this one may be relative.
  if (const char* named = std::getenv("SANDFORGE_IMAGE_DIR"); named != nullptr && *named != '\0') return named;
  const fs::path data = base::default_data_dir();
  return data.empty() ? data : data / "images";
}

base::Result<Store> Store::open(fs::path dir, bool create) {
  if (dir.empty()) {
    return base::make_error(base::Code::InvalidArgument, "no_image_dir", "there is no directory for images",
                            "set SANDFORGE_IMAGE_DIR, or HOME");
  }
  std::error_code error;
  dir = fs::absolute(dir, error);
  if (error) return base::os_error("cannot resolve the image directory", error.value());
  if (!create) {
    if (fs::is_directory(dir / "names", error)) return Store(std::move(dir));
    if (error && error != std::errc::no_such_file_or_directory && error != std::errc::not_a_directory) {
      return base::os_error("cannot open the image directory " + dir.string(), error.value());
    }
    return base::make_error(base::Code::NotFound, "image_missing", "there is no image store in " + dir.string(),
                            std::string(kBuildRemedy));
  }
  for (const char* part : {"blobs/sha256", "names", "tmp"}) SANDFORGE_TRY_STATUS(make_dirs(dir / part));
  return Store(std::move(dir));
}

base::Result<FileLock> Store::lock(FileLock::Mode mode) const { return FileLock::wait(dir_ / "lock", mode); }

fs::path Store::manifest_path(std::string_view name) const {
  return dir_ / "names" / (std::string(name) + std::string(kSuffix));
}

fs::path Store::blob_path(std::string_view digest) const { return dir_ / "blobs/sha256" / hex_of(digest); }

base::Result<Manifest> Store::read_manifest(std::string_view name) const {
  SANDFORGE_TRY_STATUS(check_name(name));
  auto text = read_file(manifest_path(name), limits::kManifestBytesMax);
  if (!text && text.error().code == base::Code::NotFound) return missing(name, dir_);
  if (!text && text.error().reason == "file_too_large") return corrupt(name, text.error().message);
  if (!text) return std::move(text).error();
  auto manifest = parse_manifest(text.value());
  if (!manifest) return corrupt(name, manifest.error().message);
  if (manifest->name != name) return corrupt(name, "its manifest is that of \"" + manifest->name + "\"");
  return manifest;
}

base::Status Store::check_size(const Manifest& manifest, std::string_view part, const Blob& blob) const {
  const fs::path path = blob_path(blob.digest);
  auto bytes = file_bytes(path);
  if (!bytes && bytes.error().code == base::Code::NotFound) {
    return corrupt(manifest.name, "its " + std::string(part) + " is gone (" + path.string() + ")");
  }
  if (!bytes) return std::move(bytes).error();
  if (bytes.value() != blob.bytes) {
    return corrupt(manifest.name, "its " + std::string(part) + " has " + std::to_string(bytes.value()) + " bytes of " +
                                      std::to_string(blob.bytes));
  }
  if (::access(path.c_str(), R_OK) != 0) return base::os_error("cannot read " + path.string());
  return {};
}

base::Result<Manifest> Store::manifest(std::string_view name) const {
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Shared));
  SANDFORGE_TRY(Manifest manifest, read_manifest(name));
  for (const auto& [part, member] : kParts) SANDFORGE_TRY_STATUS(check_size(manifest, part, manifest.*member));
  return manifest;
}

base::Result<BootFiles> Store::resolve(std::string_view name) const {
  SANDFORGE_TRY(const Manifest found, manifest(name));
  BootFiles files;
  files.name = found.name;
  files.digest = digest_of(found);
  files.kernel_release = found.kernel_release;
  files.kernel = blob_path(found.kernel.digest);
  files.modules = blob_path(found.modules.digest);
  files.root = blob_path(found.root.digest);
  return files;
}

base::Result<std::vector<Manifest>> Store::list() const {
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Shared));
  std::vector<Manifest> all;
  std::error_code error;
  for (auto entry = fs::directory_iterator(dir_ / "names", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().extension() != kSuffix) continue;
    if (auto manifest = read_manifest(entry->path().stem().string())) all.push_back(std::move(manifest).value());
  }
  if (error) return base::os_error("cannot list the images in " + dir_.string(), error.value());
  std::sort(all.begin(), all.end(), [](const Manifest& a, const Manifest& b) { return a.name < b.name; });
  return all;
}

base::Result<Manifest> Store::inspect(std::string_view name) const {
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Shared));
  SANDFORGE_TRY(Manifest manifest, read_manifest(name));
  for (const auto& [part, member] : kParts) {
    const Blob& blob = manifest.*member;
    SANDFORGE_TRY_STATUS(check_size(manifest, part, blob));
    SANDFORGE_TRY(const std::string digest, sha256_of_file(blob_path(blob.digest)));
    if (digest != blob.digest) return corrupt(name, "the content of its " + std::string(part) + " has changed");
  }
  return manifest;
}

base::Status Store::remove(std::string_view name) {
  SANDFORGE_TRY_STATUS(check_name(name));
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Exclusive));
  if (::unlink(manifest_path(name).c_str()) != 0) {
    if (errno == ENOENT) return missing(name, dir_);
    return base::os_error("cannot remove image " + std::string(name));
  }
  collect_garbage();
  TempDir::collect(dir_ / "tmp");
  return sync_path(dir_ / "names");
}

base::Result<Manifest> Store::put(Manifest manifest, const PartFiles& files) {
  SANDFORGE_TRY_STATUS(check_name(manifest.name));
  // Hashing and syncing take long, so they come before the lock.
  const std::array<std::pair<const fs::path*, Blob*>, 3> parts = {
      {{&files.kernel, &manifest.kernel}, {&files.modules, &manifest.modules}, {&files.root, &manifest.root}}};
  for (const auto& [file, blob] : parts) {
    if (file->empty()) continue;
    SANDFORGE_TRY_STATUS(sync_path(*file));
    SANDFORGE_TRY(blob->digest, sha256_of_file(*file));
    SANDFORGE_TRY(blob->bytes, file_bytes(*file));
  }
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Exclusive));
  base::Status status;
  for (const auto& [file, blob] : parts) {
    if (status) status = take_blob(*file, *blob);
  }
  if (status) status = sync_path(dir_ / "blobs/sha256");
  if (status) status = replace_file(manifest_path(manifest.name), to_toml(manifest));
  collect_garbage();
  if (!status) return std::move(status).error();
  return manifest;
}

base::Status Store::take_blob(const fs::path& file, const Blob& blob) const {
  const fs::path path = blob_path(blob.digest);
  const auto present = file_bytes(path);
  if (present && present.value() == blob.bytes && file.empty()) return {};
  if (file.empty()) {
    return base::make_error(base::Code::NotFound, "image_missing",
                            "a part of the image was removed while another image was made of it", "start again");
  }
  // A blob that is there already is replaced all the same: it may be damaged, and this one was just checked.
  if (::chmod(file.c_str(), 0444) != 0 || ::rename(file.c_str(), path.c_str()) != 0) {
    return base::os_error("cannot store " + path.string());
  }
  return {};
}

// Removes blobs that no manifest names. Best effort: what cannot be removed now goes next time. Nothing is removed
// while a manifest cannot be read, for nobody knows what it names.
void Store::collect_garbage() const {
  std::set<std::string, std::less<>> used, kernels;
  std::error_code error;
  for (auto entry = fs::directory_iterator(dir_ / "names", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (entry->path().extension() != kSuffix) {
      fs::remove(entry->path(), error);  // a half-written manifest of a killed process
      continue;
    }
    const auto manifest = read_manifest(entry->path().stem().string());
    if (!manifest) return;
    for (const auto& [part, member] : kParts) used.emplace(hex_of((manifest.value().*member).digest));
    if (const std::string& build = manifest.value().kernel_build; !build.empty()) kernels.emplace(hex_of(build));
  }
  if (error) return;
  collect_kernels(kernels);
  for (auto entry = fs::directory_iterator(dir_ / "blobs/sha256", error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    if (!used.contains(entry->path().filename().string())) ::unlink(entry->path().c_str());
  }
}

// kernels/<key>-<digest of the content>, both 64 hex digits: a damaged one is found before it gets into an image.
void Store::collect_kernels(const std::set<std::string, std::less<>>& used) const {
  std::error_code error;
  for (auto entry = fs::directory_iterator(dir_ / kKernels, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!used.contains(name.substr(0, name.find('-')))) ::unlink(entry->path().c_str());
  }
}

base::Result<bool> Store::take_kernel(std::string_view key, const fs::path& to) const {
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Shared));
  const std::string start = std::string(hex_of(key)) + "-";
  std::error_code error;
  for (auto entry = fs::directory_iterator(dir_ / kKernels, error); !error && entry != fs::directory_iterator();
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!name.starts_with(start)) continue;
    SANDFORGE_TRY(const std::string digest, sha256_of_file(entry->path()));
    if (hex_of(digest) != std::string_view(name).substr(start.size())) continue;
    if (::link(entry->path().c_str(), to.c_str()) != 0) return base::os_error("cannot link " + to.string());
    return true;
  }
  return false;
}

base::Status Store::keep_kernel(std::string_view key, const fs::path& vmlinux) const {
  SANDFORGE_TRY_STATUS(sync_path(vmlinux));
  SANDFORGE_TRY(const std::string digest, sha256_of_file(vmlinux));
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Exclusive));
  SANDFORGE_TRY_STATUS(make_dirs(dir_ / kKernels));
  const fs::path path = dir_ / kKernels / (std::string(hex_of(key)) + "-" + std::string(hex_of(digest)));
  // One that is there already may be damaged; this one was just made.
  ::unlink(path.c_str());
  if (::chmod(vmlinux.c_str(), 0444) != 0 || ::link(vmlinux.c_str(), path.c_str()) != 0) {
    return base::os_error("cannot keep " + path.string());
  }
  return sync_path(dir_ / kKernels);
}

base::Result<TempDir> Store::make_temp_dir() const {
  SANDFORGE_TRY(const FileLock held, lock(FileLock::Mode::Exclusive));
  TempDir::collect(dir_ / "tmp");
  return TempDir::make(dir_ / "tmp");
}

}  // namespace sandforge::image
