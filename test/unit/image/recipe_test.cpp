// SPDX-License-Identifier: Apache-2.0
#include "image/recipe.hpp"

#include <doctest/doctest.h>

#include <algorithm>

#include "image/root_fs.hpp"
#include "scratch.hpp"

namespace sandforge::image {
namespace {

constexpr const char* kSmall =
    "suite = \"bookworm\"\nvariant = \"apt\"\npackages = [\"bash\", \"curl\"]\n"
    "kernel_package = \"linux-image-cloud-amd64\"\nmodules = [\"erofs\"]\nhostname = \"box\"\n";

Recipe parsed(const std::string& text) {
  auto recipe = parse_recipe(text, "r");
  REQUIRE_MESSAGE(recipe, recipe.error().message);
  return std::move(recipe).value();
}

std::string message_of(const std::string& text) {
  const auto recipe = parse_recipe(text, "r");
  REQUIRE_FALSE(recipe);
  CHECK(recipe.error().code == base::Code::InvalidArgument);
  CHECK(recipe.error().reason == "invalid_recipe");
  return recipe.error().message;
}

TEST_CASE("the default recipe is valid and brings what the SDK's users expect") {
  const Recipe recipe = parsed(std::string(default_recipe_text()));
  CHECK(recipe.suite == "bookworm");
  for (const char* package : {"python3", "python3-pip", "python3-venv", "git", "curl", "ca-certificates", "bash"}) {
    CHECK(std::find(recipe.packages.begin(), recipe.packages.end(), package) != recipe.packages.end());
  }
  CHECK(recipe.mirrors.empty());
  REQUIRE(recipe.symlinks.size() == 1);
  CHECK(recipe.symlinks[0].path == "/usr/bin/python");
}

TEST_CASE("errors of a recipe name file, line and column") {
  CHECK(message_of(std::string(kSmall) + "colour = 1\n").starts_with("r: line 7, column 1: unknown key \"colour\""));
  CHECK(message_of("suite = 5\n").starts_with("r: line 1, column 9: \"suite\" must be a string"));
  CHECK(message_of("suite = \"b\"\n# \xc3\xa9\n").starts_with("r: line 2, column 3: a character that is not ASCII"));
  CHECK(message_of("suite = \n").starts_with("r: line 1, column"));
  CHECK(message_of("suite = \"bookworm\"\n").starts_with("r: line 1, column 1: \"variant\" is missing"));
  CHECK(message_of(std::string(kSmall) + "[[file]]\npath = \"etc/x\"\ncontent = \"\"\n").starts_with("r: line 8, "));
}

TEST_CASE("values that would become options, other paths or other commands are refused") {
  const auto with = [](const std::string& line) { return std::string(kSmall) + line; };
  std::string text = kSmall;
  text.replace(text.find("\"curl\""), 6, "\"-o\"");
  message_of(text);
  text = kSmall;
  text.replace(text.find("bookworm"), 8, "book worm");
  message_of(text);
  message_of(with("mirror = [\"deb a\\nb\"]\n"));
  message_of(with("mirror = [\"/etc\"]\n"));
  message_of(with("[[file]]\npath = \"/etc/../x\"\ncontent = \"\"\n"));
  message_of(with("[[file]]\npath = \"/x\"\ncontent = \"\"\nmode = \"99\"\n"));
  message_of(with("[[file]]\npath = \"/x\"\ncontent = \"\\u0000\"\n"));
  message_of(with("[[file]]\npath = \"/x\"\ncontent = \"" + std::string(70000, 'x') + "\"\n"));
  message_of(with("[[symlink]]\npath = \"/x\"\ntarget = \"\"\n"));
}

TEST_CASE("a recipe's digest is that of its content, not of its spelling") {
  const std::string digest = digest_of(parsed(kSmall));
  std::string spaced = "# comment\n" + std::string(kSmall);
  spaced.replace(spaced.find("[\"bash\", \"curl\"]"), 16, "[ \"curl\", \"bash\", ]");
  CHECK(digest_of(parsed(spaced)) == digest);
  CHECK(digest_of(parsed(std::string(kSmall) + "apt_sources = \"x\"\n")) != digest);
  CHECK(digest_of(parsed(std::string(kSmall) + "[[symlink]]\npath = \"/a\"\ntarget = \"b\"\n")) != digest);
}

TEST_CASE(
    "a recipe has a stock kernel unless it says otherwise, and its digest is then what it was without the choice") {
  const Recipe stock = parsed(kSmall);
  CHECK(stock.kernel == KernelKind::Stock);
  CHECK(digest_of(parsed(std::string(kSmall) + "kernel = \"stock\"\nkernel_source = \"x\"\n")) == digest_of(stock));
  const std::string built = std::string(kSmall) + "kernel = \"built\"\n";
  CHECK(message_of(built).starts_with("r: line 1, column 1: \"kernel_source\" is missing"));
  const Recipe recipe = parsed(built + "kernel_source = \"linux-source-6.1\"\n");
  CHECK(recipe.kernel == KernelKind::Built);
  CHECK(digest_of(recipe) != digest_of(stock));
  CHECK(digest_of(parsed(built + "kernel_source = \"linux-source\"\n")) != digest_of(recipe));
  message_of(std::string(kSmall) + "kernel = \"given\"\n");
  message_of(std::string(kSmall) + "kernel_source = \"-o\"\n");
  CHECK(parsed(std::string(default_recipe_text())).kernel_source == "linux-source-6.1");
}

TEST_CASE("the finishing script writes the recipe's files with any bytes, replacing links") {
  test::Scratch scratch;
  Recipe recipe = parsed(kSmall);
  const std::string content = "a 'quoted' $HOME `x` \\ %s\nlast line without newline";
  recipe.files.push_back({(scratch / "deep/er/file").string(), content, 0600});
  recipe.symlinks.push_back({(scratch / "link").string(), "deep er"});
  const std::string script = finish_script(recipe);
  // The part after the marker, without the two lines that would write to this machine's /etc.
  std::string own = script.substr(script.find("# The recipe's own."));
  own = own.substr(own.find("rm -f '" + scratch.path().string()));
  scratch.write("script", own);

  REQUIRE(test::shell("sh " + (scratch / "script").string()) == 0);
  CHECK(test::slurp(scratch / "deep/er/file") == content);
  CHECK(std::filesystem::read_symlink(scratch / "link") == "deep er");
}

}  // namespace
}  // namespace sandforge::image
