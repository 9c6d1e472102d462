// SPDX-License-Identifier: Apache-2.0
// Store: guest images by name on disk, their parts by digest. The format is described in libsandforge/doc/image.md.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/file_io.hpp"
#include "image/manifest.hpp"
#include "image/temp_dir.hpp"

namespace sandforge::image {

// What a boot needs of an image. The paths are blobs of the store: read-only, never changed, only ever removed.
struct BootFiles {
  std::string name;
  std::string digest;  // "sha256:…"
  std::string kernel_release;
  std::filesystem::path kernel;   // vmlinux, ELF64 with the PVH note
  std::filesystem::path modules;  // cpio newc: /modules/order and the files it lists
  std::filesystem::path root;     // EROFS
};

// $SANDFORGE_IMAGE_DIR; else /var/lib/sandforge/images for root; else sandforge/images in $XDG_STATE_HOME or
// ~/.local/state. Empty when none of them is set. Reads the environment.
std::filesystem::path default_image_dir();

// New parts for Store::put, on the store's own file system (see make_temp_dir); empty: none.
struct PartFiles {
  std::filesystem::path kernel;
  std::filesystem::path modules;
  std::filesystem::path root;
};

// One store. Holds no descriptor: each call takes the store's lock for its own duration (shared to read, exclusive to
// write), so any number of processes may use one directory. Values only; any thread. All calls block on the disk.
class Store {
 public:
  // With `create` the directory is made when missing (0755), else a missing one is not_found "image_missing".
  static base::Result<Store> open(std::filesystem::path dir, bool create);

  // The parts of an image, checked for presence and size only (microseconds). The files may be unlinked by `remove`
  // at any later time: whoever uses them opens them at once; an open file stays whole.
  // Errors: invalid_argument (name), not_found "image_missing", corrupt "image_corrupt".
  base::Result<BootFiles> resolve(std::string_view name) const;
  base::Result<Manifest> manifest(std::string_view name) const;
  // Every image whose manifest can be read, by name; damaged ones are left out: `inspect` says what is wrong.
  base::Result<std::vector<Manifest>> list() const;
  // Reads every blob and compares its digest. Errors: as resolve.
  base::Result<Manifest> inspect(std::string_view name) const;
  // Removes the name, blobs that no other manifest names, and what killed builds left behind.
  base::Status remove(std::string_view name);

  // Moves the parts into the store and names them, in one step: a manifest never names what is not there. Fills in the
  // manifest's blobs for the paths given; a path left empty means that the manifest names a blob of the store already
  // (not_found "image_missing" when it went away meanwhile). Replaces an image of that name. Answers the manifest.
  base::Result<Manifest> put(Manifest manifest, const PartFiles& files);

  // Kernels compiled here, kept by kernel_build_key until an image is put or removed and no manifest names the key.
  // `take`: makes `to` (on the store's file system) the kernel of `key`; false when there is none, or a damaged one.
  // `keep`: `vmlinux`, on the store's file system, stays where it is too.
  base::Result<bool> take_kernel(std::string_view key, const std::filesystem::path& to) const;
  base::Status keep_kernel(std::string_view key, const std::filesystem::path& vmlinux) const;

  // A new directory in <dir>/tmp; removes those that killed processes left there.
  base::Result<TempDir> make_temp_dir() const;

  const std::filesystem::path& dir() const noexcept { return dir_; }
  std::filesystem::path blob_path(std::string_view digest) const;

 private:
  explicit Store(std::filesystem::path dir) : dir_(std::move(dir)) {}
  base::Result<FileLock> lock(FileLock::Mode mode) const;
  std::filesystem::path manifest_path(std::string_view name) const;
  // Those below: the caller holds the lock.
  base::Result<Manifest> read_manifest(std::string_view name) const;
  base::Status check_size(const Manifest& manifest, std::string_view part, const Blob& blob) const;
  base::Status take_blob(const std::filesystem::path& file, const Blob& blob) const;
  void collect_garbage() const;
  void collect_kernels(const std::set<std::string, std::less<>>& used) const;

  std::filesystem::path dir_;
};

// The initrd of a boot: the agent archive and the image's modules archive, both cpio newc, one after the other.
// Written once to `cache_dir` (created when missing) under the digest of its parts; later calls answer the path after
// hashing the agent only. Safe to call from several processes at once. Errors: not_found (agent), exhausted (disk).
base::Result<std::filesystem::path> make_initrd(const BootFiles& files, const std::filesystem::path& agent_binary,
                                                const std::filesystem::path& cache_dir);

}  // namespace sandforge::image
