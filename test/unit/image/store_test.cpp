// SPDX-License-Identifier: Apache-2.0
#include "image/store.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "image/digest.hpp"
#include "scratch.hpp"

namespace sandforge::image {
namespace {

using test::Scratch;

Store open_store(const Scratch& scratch) {
  auto store = Store::open(scratch / "store", true);
  REQUIRE(store);
  return std::move(store).value();
}

Manifest named(const std::string& name) {
  Manifest manifest;
  manifest.name = name;
  manifest.created_at = 1234;
  manifest.kernel_release = "6.1.0";
  manifest.kernel_modules = {"00-virtio.ko", "01-erofs.ko"};
  return manifest;
}

Manifest put(Store& store, const Scratch& scratch, const std::string& name, const std::string& root = "root") {
  const PartFiles files{.kernel = scratch.write("k", "kernel"),
                        .modules = scratch.write("m", "modules"),
                        .root = scratch.write("r", root)};
  auto manifest = store.put(named(name), files);
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  return std::move(manifest).value();
}

std::size_t blob_count(const Store& store) {
  return static_cast<std::size_t>(std::distance(test::fs::directory_iterator(store.dir() / "blobs/sha256"), {}));
}

TEST_CASE("an image that was put is resolved to read-only files of its content") {
  Scratch scratch;
  Store store = open_store(scratch);
  const Manifest manifest = put(store, scratch, "default");

  const auto files = store.resolve("default");
  REQUIRE(files);
  CHECK(files.value().digest == digest_of(manifest));
  CHECK(files.value().kernel_release == "6.1.0");
  CHECK(test::slurp(files.value().kernel) == "kernel");
  CHECK(test::slurp(files.value().modules) == "modules");
  CHECK(test::slurp(files.value().root) == "root");
  struct stat status {};
  REQUIRE(::stat(files.value().root.c_str(), &status) == 0);
  CHECK((status.st_mode & 0777) == 0444);
  CHECK_FALSE(test::fs::exists(scratch / "r"));
}

TEST_CASE("equal parts give equal digests under any name and share their blobs") {
  Scratch scratch;
  Store store = open_store(scratch);
  const Manifest a = put(store, scratch, "a"), b = put(store, scratch, "b");
  CHECK(digest_of(a) == digest_of(b));
  CHECK(blob_count(store) == 3);
  CHECK(digest_of(put(store, scratch, "c", "another root")) != digest_of(a));
  CHECK(store.list().value().size() == 3);
}

TEST_CASE("removing an image removes the blobs that no other uses") {
  Scratch scratch;
  Store store = open_store(scratch);
  put(store, scratch, "a");
  put(store, scratch, "b", "other");
  CHECK(blob_count(store) == 4);
  REQUIRE(store.remove("a"));
  CHECK(blob_count(store) == 3);
  CHECK(store.inspect("b"));
  REQUIRE(store.remove("b"));
  CHECK(blob_count(store) == 0);
  CHECK(store.remove("b").error().reason == "image_missing");
}

TEST_CASE("putting an image anew replaces it and drops its old parts") {
  Scratch scratch;
  Store store = open_store(scratch);
  put(store, scratch, "a", "old");
  put(store, scratch, "a", "new");
  CHECK(blob_count(store) == 3);
  CHECK(test::slurp(store.resolve("a").value().root) == "new");
}

TEST_CASE("a missing image or store names the command that makes it") {
  Scratch scratch;
  const auto none = Store::open(scratch / "none", false);
  REQUIRE_FALSE(none);
  CHECK(none.error().code == base::Code::NotFound);
  CHECK(none.error().reason == "image_missing");
  Store store = open_store(scratch);
  const auto files = store.resolve("default");
  REQUIRE_FALSE(files);
  CHECK(files.error().reason == "image_missing");
  CHECK(files.error().remedy == "sandforged image build");
}

TEST_CASE("names that are paths, empty, too long or of other characters are refused") {
  Scratch scratch;
  const Store store = open_store(scratch);
  for (const std::string& name : {std::string(), std::string(".."), std::string("../x"), std::string("a/b"),
                                  std::string("A"), std::string("-x"), std::string("a\0b", 3), std::string(65, 'a')}) {
    CHECK_FALSE(is_valid_name(name));
    CHECK(store.resolve(name).error().code == base::Code::InvalidArgument);
  }
  CHECK(is_valid_name("python3.12_x-y"));
  CHECK(is_valid_name(std::string(64, 'a')));
}

TEST_CASE("damage is found: cut blobs by resolve, changed ones by inspect, manifests by both") {
  Scratch scratch;
  Store store = open_store(scratch);
  put(store, scratch, "a");
  const auto root = store.resolve("a").value().root;

  test::fs::permissions(root, test::fs::perms::owner_all);
  scratch.write(root.lexically_relative(scratch.path()).string(), "rook");
  CHECK(store.resolve("a"));
  CHECK(store.inspect("a").error().reason == "image_corrupt");

  scratch.write(root.lexically_relative(scratch.path()).string(), "ro");
  CHECK(store.resolve("a").error().code == base::Code::Corrupt);
  CHECK(store.resolve("a").error().remedy.find("image build") != std::string::npos);
  test::fs::remove(root);
  CHECK(store.resolve("a").error().reason == "image_corrupt");

  scratch.write("store/names/a.toml", "name = 5");
  CHECK(store.resolve("a").error().reason == "image_corrupt");
  CHECK(store.list().value().empty());
  CHECK(store.remove("a"));
}

TEST_CASE("blobs stay as long as a damaged manifest might name them") {
  Scratch scratch;
  Store store = open_store(scratch);
  put(store, scratch, "a");
  put(store, scratch, "b", "other");
  scratch.write("store/names/a.toml", "");
  REQUIRE(store.remove("b"));
  CHECK(blob_count(store) == 4);
}

TEST_CASE("a part that went away before its image was put is an error, and the old image stays") {
  Scratch scratch;
  Store store = open_store(scratch);
  Manifest manifest = put(store, scratch, "a");
  manifest.kernel.digest = sha256_of("gone");
  CHECK_FALSE(store.put(manifest, {}));
  CHECK(store.inspect("a"));
}

TEST_CASE("a kernel that was built is kept by its key until no image is of it") {
  Scratch scratch;
  Store store = open_store(scratch);
  const std::string key = sha256_of("key"), other = sha256_of("other");
  REQUIRE(store.keep_kernel(key, scratch.write("built", "vmlinux")));
  CHECK_FALSE(store.take_kernel(other, scratch / "taken").value());
  REQUIRE(store.take_kernel(key, scratch / "taken").value());
  CHECK(test::slurp(scratch / "taken") == "vmlinux");

  Manifest manifest = named("small");
  manifest.kernel_kind = KernelKind::Built;
  manifest.kernel_build = key;
  REQUIRE(store.put(
      manifest,
      {.kernel = scratch / "taken", .modules = scratch.write("m", "modules"), .root = scratch.write("r", "root")}));
  CHECK(test::slurp(store.resolve("small").value().kernel) == "vmlinux");
  CHECK(store.manifest("small").value().kernel_build == key);
  put(store, scratch, "default");
  CHECK(store.take_kernel(key, scratch / "again").value());
  REQUIRE(store.remove("small"));
  CHECK_FALSE(store.take_kernel(key, scratch / "never").value());
}

TEST_CASE("a kept kernel that was damaged is not taken, and gives way to a new one") {
  Scratch scratch;
  Store store = open_store(scratch);
  const std::string key = sha256_of("key");
  REQUIRE(store.keep_kernel(key, scratch.write("built", "vmlinux")));
  for (const auto& entry : test::fs::directory_iterator(store.dir() / "kernels")) {
    test::fs::permissions(entry.path(), test::fs::perms::owner_all);
    std::ofstream(entry.path(), std::ios::binary) << "vmlinuz";
  }
  CHECK_FALSE(store.take_kernel(key, scratch / "taken").value());
  test::fs::remove(scratch / "built");
  REQUIRE(store.keep_kernel(key, scratch.write("built", "vmlinux")));
  CHECK(store.take_kernel(key, scratch / "taken").value());
}

TEST_CASE("a manifest tells the kind of its kernel; one from before there was a choice has a stock one") {
  Manifest manifest = named("small");
  for (Blob* blob : {&manifest.kernel, &manifest.modules, &manifest.root}) *blob = {sha256_of("x"), 1};
  const std::string stock = to_toml(manifest);
  CHECK(stock.find("\nkernel_kind = \"stock\"\n") != std::string::npos);
  std::string old = stock;
  old.erase(old.find("kernel_kind"), std::string_view("kernel_kind = \"stock\"\n").size());
  CHECK(parse_manifest(old).value().kernel_kind == KernelKind::Stock);

  const std::string digest = digest_of(manifest);
  manifest.kernel_kind = KernelKind::Built;
  CHECK_FALSE(parse_manifest(to_toml(manifest)));
  manifest.kernel_build = sha256_of("key");
  const auto back = parse_manifest(to_toml(manifest));
  REQUIRE(back);
  CHECK(back.value().kernel_kind == KernelKind::Built);
  CHECK(back.value().kernel_build == manifest.kernel_build);
  CHECK(digest_of(manifest) == digest);  // content alone
  manifest.kernel_kind = KernelKind::Given;
  CHECK_FALSE(parse_manifest(to_toml(manifest)));
}

TEST_CASE("temporary directories go with their object, and those of killed processes at the next one") {
  Scratch scratch;
  const Store store = open_store(scratch);
  const pid_t child = ::fork();
  if (child == 0) {
    auto left = store.make_temp_dir();
    if (left) test::fs::create_directories(left.value().path() / "deep/er");
    ::_exit(left ? 0 : 1);
  }
  int status = 0;
  REQUIRE(::waitpid(child, &status, 0) == child);
  REQUIRE(status == 0);
  const auto count = [&] { return std::distance(test::fs::directory_iterator(store.dir() / "tmp"), {}); };
  CHECK(count() == 1);
  {
    const auto first = store.make_temp_dir();
    CHECK(count() == 1);
    const auto second = store.make_temp_dir();
    CHECK(count() == 2);
  }
  CHECK(count() == 0);
}

TEST_CASE("a manifest survives its own format, and no cut or flipped one is taken for another") {
  Manifest manifest = named("x");
  manifest.recipe_digest = sha256_of("recipe");
  manifest.kernel = {sha256_of("k"), 1};
  manifest.modules = {sha256_of("m"), 2};
  manifest.root = {sha256_of("r"), 3};
  const std::string text = to_toml(manifest);
  const auto back = parse_manifest(text);
  REQUIRE(back);
  CHECK(to_toml(back.value()) == text);
  CHECK(text.ends_with(text.substr(text.find("format = "))));
  CHECK(digest_of(manifest) == sha256_of(text.substr(text.find("format = "))));

  for (std::size_t size = 0; size < text.size() - 1; ++size) CHECK_FALSE(parse_manifest(text.substr(0, size)));
  for (std::size_t bit = 0; bit < text.size() * 8; ++bit) {
    std::string flipped = text;
    flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ (1 << (bit % 8)));
    const auto read = parse_manifest(flipped);
    if (!read) {
      CHECK(read.error().reason == "image_corrupt");
    } else {
      CHECK(is_valid_name(read.value().name));
      CHECK(is_digest(read.value().root.digest));
    }
  }
}

}  // namespace
}  // namespace sandforge::image
