// SPDX-License-Identifier: Apache-2.0
#include "image/apt_sources.hpp"

#include <doctest/doctest.h>

#include "scratch.hpp"

namespace sandforge::image {
namespace {

TEST_CASE("of a sources.list the suite, its updates and its security remain, with their options") {
  const AptSources sources = select_one_line(
      "# deb http://a.test/x bookworm main\n"
      "deb http://a.test/debian bookworm main contrib # why\n"
      "deb-src http://a.test/debian bookworm main\n"
      "deb [signed-by=/k.gpg arch=amd64] http://a.test/debian bookworm-updates main\n"
      "deb http://a.test/security bookworm-security main\n"
      "deb http://a.test/debian bookworm-backports main\n"
      "deb http://b.test/other bookworm stable\n"
      "deb http://a.test/debian trixie main\n"
      "deb [broken http://a.test/debian bookworm main\n",
      "bookworm");
  CHECK(sources.one_line ==
        "deb http://a.test/debian bookworm main\n"
        "deb [signed-by=/k.gpg arch=amd64] http://a.test/debian bookworm-updates main\n"
        "deb http://a.test/security bookworm-security main\n");
}

TEST_CASE("of deb822 stanzas the suite's remain, with their keys") {
  const AptSources sources = select_deb822(
      "Types: deb deb-src\n# comment\nURIs: http://a.test/debian\nSuites: bookworm trixie bookworm-updates\n"
      "Components: main contrib\nSigned-By:\n -----BEGIN-----\n .\n key\n\n"
      "Types: deb\nURIs: http://b.test/\nSuites: bookworm\nComponents: main\nEnabled: no\n\n"
      "types: deb\nURIs: http://c.test/\nSUITES: bookworm-security\ncomponents: main",
      "bookworm");
  CHECK(sources.deb822 ==
        "Types: deb\nSuites: bookworm bookworm-updates\nComponents: main\nURIs: http://a.test/debian\n"
        "Signed-By:\n -----BEGIN-----\n .\n key\n\n"
        "Types: deb\nSuites: bookworm-security\nComponents: main\nURIs: http://c.test/\n\n");
}

TEST_CASE("the recipe's mirrors come before the host's configuration") {
  test::Scratch scratch;
  scratch.write("sources.list", "deb http://host.test/debian bookworm main\n");
  Recipe recipe;
  recipe.suite = "bookworm";
  CHECK(sources_of(recipe, scratch.path()).value().one_line == "deb http://host.test/debian bookworm main\n");
  recipe.mirrors = {"http://m.test/debian", "deb http://m.test/security bookworm-security main"};
  CHECK(sources_of(recipe, scratch.path()).value().one_line ==
        "deb http://m.test/debian bookworm main\ndeb http://m.test/security bookworm-security main\n");
}

TEST_CASE("a host whose apt does not know the suite is told to set a mirror") {
  test::Scratch scratch;
  scratch.write("sources.list.d/x.sources", "Types: deb\nURIs: http://a.test\nSuites: noble\nComponents: main\n");
  Recipe recipe;
  recipe.suite = "bookworm";
  const auto sources = sources_of(recipe, scratch.path());
  REQUIRE_FALSE(sources);
  CHECK(sources.error().reason == "no_package_source");
  CHECK(sources.error().remedy.find("mirror") != std::string::npos);
}

}  // namespace
}  // namespace sandforge::image
