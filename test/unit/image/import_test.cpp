// SPDX-License-Identifier: Apache-2.0
// Imports made of trees, archives and layouts that each test builds itself; read back with fsck.erofs.
#include "image/import.hpp"

#include <doctest/doctest.h>
#include <fmt/format.h>

#include <algorithm>
#include <vector>

#include "image/archive.hpp"
#include "image/digest.hpp"
#include "image/merge.hpp"
#include "image/oci.hpp"
#include "image/root_fs.hpp"
#include "scratch.hpp"

namespace sandforge::image {
namespace {

using test::Scratch;
using test::shell;
using test::slurp;

// A store with a default image, whose kernel imports take.
struct Fixture {
  Scratch scratch;
  Store store = Store::open(scratch / "store", true).value();
  std::vector<std::string> steps;
  Progress progress = [this](std::string_view step, std::uint64_t, std::uint64_t) { steps.emplace_back(step); };

  Fixture() {
    Manifest manifest;
    manifest.name = "default";
    manifest.kernel_release = "6.1.0";
    REQUIRE(store.put(manifest, {.kernel = scratch.write("k", "kernel"),
                                 .modules = scratch.write("m", "modules"),
                                 .root = scratch.write("r", "root")}));
  }

  base::Result<Manifest> import(const test::fs::path& root, const test::fs::path& kernel = {}) {
    return import_image(store, "mine", root, kernel, progress);
  }

  // The root file system of image "mine", unpacked.
  test::fs::path unpacked() {
    const auto root = store.resolve("mine").value().root;
    remove_tree(scratch / "out");
    test::fs::create_directory(scratch / "out");
    REQUIRE(shell(fmt::format("fsck.erofs --extract={} {} >/dev/null", (scratch / "out").string(), root.string())) ==
            0);
    return scratch / "out";
  }

  bool nothing_left() const {
    return test::fs::is_empty(store.dir() / "tmp") && store.list().value().size() == 1 && !store.resolve("mine");
  }

  // Puts a blob into the layout, and answers its descriptor.
  std::string oci_blob(const std::string& content, const std::string& type) {
    const std::string digest = sha256_of(content);
    scratch.write("oci/blobs/sha256/" + std::string(hex_of(digest)), content);
    return fmt::format(R"({{"mediaType":"{}","digest":"{}","size":{}}})", type, digest, content.size());
  }

  // A layer of the tree in `directory`, compressed by tar's option `flag`.
  std::string oci_layer(const std::string& directory, const std::string& flag) {
    const auto tar = scratch / "layer.tar";
    REQUIRE(shell(fmt::format("tar -C {} {} -cf {} .", (scratch / directory).string(), flag, tar.string())) == 0);
    return oci_blob(slurp(tar), "application/vnd.oci.image.layer.v1.tar");
  }

  void oci_index(const std::string& layers) {
    const std::string manifest = fmt::format(R"({{"schemaVersion":2,"config":{},"layers":[{}]}})",
                                             oci_blob("{}", "application/vnd.oci.image.config.v1+json"), layers);
    const std::string descriptor = oci_blob(manifest, "application/vnd.oci.image.manifest.v1+json");
    scratch.write("oci/oci-layout", R"({"imageLayoutVersion":"1.0.0"})");
    scratch.write("oci/index.json", fmt::format(R"({{"schemaVersion":2,"manifests":[{}]}})", descriptor));
  }
};

void make_root(const Scratch& scratch, const std::string& name) {
  scratch.write(name + "/bin/sh", "#!shell");
  scratch.write(name + "/etc/hello", "hello");
  scratch.write(name + "/proc/1/left-out", "x");
  test::fs::create_symlink("../etc/hello", scratch / (name + "/bin/link"));
}

TEST_CASE_FIXTURE(Fixture, "a directory is imported with the default image's kernel, without what is in its /proc") {
  make_root(scratch, "tree");
  const auto manifest = import(scratch / "tree");
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  CHECK(manifest.value().recipe_digest.empty());
  CHECK(slurp(store.resolve("mine").value().kernel) == "kernel");

  const auto out = unpacked();
  CHECK(slurp(out / "etc/hello") == "hello");
  CHECK(test::fs::read_symlink(out / "bin/link") == "../etc/hello");
  CHECK(test::fs::is_directory(out / "proc"));
  CHECK(test::fs::is_empty(out / "proc"));
  CHECK(test::fs::is_empty(store.dir() / "tmp"));
}

TEST_CASE_FIXTURE(Fixture, "a tar, plain or compressed, gives the same image as its directory") {
  make_root(scratch, "tree");
  const auto tree = (scratch / "tree").string(), tar = (scratch / "root.tar").string();
  const auto from_directory = import(scratch / "tree");
  REQUIRE(from_directory);
  for (const char* flag : {"", "-z", "-J"}) {
    REQUIRE(shell(fmt::format("tar -C {} {} --exclude=./proc/1 --sort=name -cf {} .", tree, flag, tar)) == 0);
    const auto manifest = import(tar);
    REQUIRE_MESSAGE(manifest, manifest.error().message);
    CHECK(manifest.value().root.bytes == from_directory.value().root.bytes);
  }
  CHECK(slurp(unpacked() / "etc/hello") == "hello");
}

TEST_CASE_FIXTURE(Fixture, "an archive with a member outside its root is refused and leaves nothing") {
  scratch.write("evil/x", "x");
  const auto tar = (scratch / "evil.tar").string();
  for (const char* transform : {"s,^x,../x,", "s,^x,a/../../x,", "s,^x,/tmp/x,"}) {
    REQUIRE(shell(fmt::format("tar -P -C {} --transform='{}' -cf {} x", (scratch / "evil").string(), transform, tar)) ==
            0);
    const auto manifest = import(tar);
    REQUIRE_FALSE(manifest);
    CHECK(manifest.error().reason == "unsafe_archive");
    CHECK(nothing_left());
  }
}

TEST_CASE_FIXTURE(Fixture, "what is no root file system is refused with a text that says so") {
  scratch.write("noise", std::string(4096, 'x'));
  CHECK(import(scratch / "noise").error().reason == "not_an_image");
  test::fs::create_directory(scratch / "void");
  CHECK(import(scratch / "void").error().reason == "empty_root");
  CHECK(import(scratch / "absent").error().code == base::Code::NotFound);
  CHECK(import("/dev/null").error().reason == "not_an_image");
  CHECK(import(scratch.path()).error().reason == "not_an_image");  // holds the store
  scratch.write("saved/manifest.json", "[]");
  CHECK(import(scratch / "saved").error().message.find("docker save") != std::string::npos);
  CHECK(nothing_left());
}

TEST_CASE_FIXTURE(Fixture, "a root without a shell is imported with a warning") {
  scratch.write("tree/app", "x");
  REQUIRE(import(scratch / "tree"));
  CHECK(std::find(steps.begin(), steps.end(), "warning: the root file system has no /bin/sh") != steps.end());
}

TEST_CASE_FIXTURE(Fixture, "without a default image an import without a kernel says how to get one") {
  REQUIRE(store.remove("default"));
  scratch.write("tree/bin/sh", "x");
  const auto manifest = import(scratch / "tree");
  REQUIRE_FALSE(manifest);
  CHECK(manifest.error().reason == "image_missing");
  CHECK(manifest.error().remedy == "sandforged image build");
}

TEST_CASE_FIXTURE(Fixture, "a kernel file that is none is refused") {
  make_root(scratch, "tree");
  CHECK(import(scratch / "tree", scratch.write("kernel", "text")).error().reason == "not_a_kernel");
  CHECK(nothing_left());
}

TEST_CASE_FIXTURE(Fixture, "an OCI layout's layers lie on each other, with whiteouts and opaque directories") {
  scratch.write("one/bin/sh", "sh");
  scratch.write("one/etc/old", "1");
  scratch.write("one/etc/changed", "1");
  scratch.write("one/data/a", "1");
  scratch.write("one/data/b", "1");
  scratch.write("two/etc/.wh.old", "");
  scratch.write("two/etc/changed", "2");
  scratch.write("two/data/.wh..wh..opq", "");
  scratch.write("two/data/c", "2");
  oci_index(oci_layer("one", "-z") + "," + oci_layer("two", "--zstd"));

  const auto manifest = import(scratch / "oci");
  REQUIRE_MESSAGE(manifest, manifest.error().message);
  const auto out = unpacked();
  CHECK(slurp(out / "bin/sh") == "sh");
  CHECK_FALSE(test::fs::exists(out / "etc/old"));
  CHECK_FALSE(test::fs::exists(out / "etc/.wh.old"));
  CHECK(slurp(out / "etc/changed") == "2");
  CHECK_FALSE(test::fs::exists(out / "data/a"));
  CHECK_FALSE(test::fs::exists(out / "data/.wh..wh..opq"));
  CHECK(slurp(out / "data/c") == "2");
}

TEST_CASE_FIXTURE(Fixture, "a damaged blob of an OCI layout is found before anything is unpacked") {
  scratch.write("one/bin/sh", "sh");
  const std::string layer = oci_layer("one", "");
  oci_index(layer);
  const std::string digest = layer.substr(layer.find("sha256:"), 71);
  const std::string path = "oci/blobs/sha256/" + std::string(hex_of(digest));
  std::string content = slurp(scratch / path);
  content[100] = static_cast<char>(content[100] ^ 1);
  scratch.write(path, content);
  CHECK(import(scratch / "oci").error().reason == "oci_corrupt");
  test::fs::remove(scratch / path);
  CHECK(import(scratch / "oci").error().reason == "oci_corrupt");
  CHECK(nothing_left());
}

TEST_CASE_FIXTURE(Fixture, "an OCI layout for other platforms only is unsupported") {
  scratch.write("one/bin/sh", "sh");
  oci_index(oci_layer("one", ""));
  std::string index = slurp(scratch / "oci/index.json");
  index.insert(index.find("\"size\""), R"("platform":{"os":"linux","architecture":"arm64"},)");
  scratch.write("oci/index.json", index);
  CHECK(import(scratch / "oci").error().reason == "oci_platform");
}

TEST_CASE("a layer does not follow the links of lower layers out of the root") {
  Scratch scratch;
  scratch.write("outside/victim", "safe");
  scratch.write("root/usr/lib/x", "x");
  test::fs::create_symlink(scratch / "outside", scratch / "root/escape");
  test::fs::create_symlink("../../../../../../" + (scratch / "outside").string(), scratch / "root/climb");
  test::fs::create_symlink("usr/lib", scratch / "root/lib");
  scratch.write("layer/escape/victim", "hit");
  scratch.write("layer/climb/.wh.victim", "");
  scratch.write("layer/climb/new", "new");
  scratch.write("layer/lib/y", "y");
  scratch.write("layer/.wh..", "");
  scratch.write("layer/.wh.", "");

  REQUIRE(apply_layer(scratch / "layer", scratch / "root"));
  CHECK(slurp(scratch / "outside/victim") == "safe");
  CHECK_FALSE(test::fs::exists(scratch / "outside/new"));
  CHECK(slurp(scratch / "root/escape/victim") == "hit");
  CHECK(test::fs::is_directory(test::fs::symlink_status(scratch / "root/escape")));
  CHECK(slurp(scratch / "root/usr/lib/y") == "y");
  CHECK(test::fs::is_symlink(scratch / "root/lib"));
}

TEST_CASE("directories and files replace each other between layers") {
  Scratch scratch;
  scratch.write("root/a/b/c", "1");
  scratch.write("root/d", "1");
  scratch.write("layer/a", "2");
  scratch.write("layer/d/e", "2");
  REQUIRE(apply_layer(scratch / "layer", scratch / "root"));
  CHECK(slurp(scratch / "root/a") == "2");
  CHECK(slurp(scratch / "root/d/e") == "2");
}

TEST_CASE("an EROFS image of equal trees has equal bytes, whatever the order and time of their making") {
  Scratch scratch;
  for (const char* name : {"b", "a", "z/y", "z/x"}) scratch.write(std::string("one/") + name, name);
  for (const char* name : {"z/x", "z/y", "a", "b"}) scratch.write(std::string("two/") + name, name);
  REQUIRE(shell("touch -d 2001-01-01 " + (scratch / "one/a").string()) == 0);
  REQUIRE(write_erofs(scratch / "one", scratch / "1.erofs", Times::Fixed, {}));
  REQUIRE(write_erofs(scratch / "two", scratch / "2.erofs", Times::Fixed, {}));
  CHECK(sha256_of_file(scratch / "1.erofs").value() == sha256_of_file(scratch / "2.erofs").value());

  REQUIRE(write_erofs(scratch / "one", scratch / "3.erofs", Times::Kept, {}));
  REQUIRE(write_erofs(scratch / "one", scratch / "4.erofs", Times::Kept, {}));
  CHECK(sha256_of_file(scratch / "3.erofs").value() == sha256_of_file(scratch / "4.erofs").value());
  CHECK(slurp(scratch / "3.erofs") != slurp(scratch / "1.erofs"));
}

TEST_CASE("OCI manifests that are cut off, nested or of other types are refused") {
  const std::string digest = sha256_of("x");
  const std::string good =
      fmt::format(R"({{"schemaVersion":2,"layers":[{{"mediaType":"t","digest":"{}","size":1}}]}})", digest);
  REQUIRE(parse_oci_manifest(good));
  CHECK(parse_oci_manifest(good).value()[0].digest == digest);
  for (std::size_t size = 0; size < good.size(); ++size) CHECK_FALSE(parse_oci_manifest(good.substr(0, size)));
  CHECK_FALSE(parse_oci_manifest(std::string(100'000, '[')));
  CHECK_FALSE(parse_oci_manifest(R"({"schemaVersion":2,"layers":[{"digest":"sha256:../../etc/passwd","size":1}]})"));
  CHECK_FALSE(parse_oci_manifest(R"({"schemaVersion":1,"layers":[]})"));
  CHECK_FALSE(
      parse_oci_manifest(fmt::format(R"({{"schemaVersion":2,"layers":[{{"digest":"{}","size":-1}}]}})", digest)));
  std::string many = R"({"schemaVersion":2,"layers":[)";
  for (int i = 0; i < 300; ++i) many += fmt::format(R"({}{{"digest":"{}","size":1}})", i == 0 ? "" : ",", digest);
  CHECK_FALSE(parse_oci_manifest(many + "]}"));
}

}  // namespace
}  // namespace sandforge::image
