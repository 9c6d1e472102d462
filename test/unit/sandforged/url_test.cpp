// SPDX-License-Identifier: Apache-2.0
#include "server/url.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sandforge::server;

TEST_CASE("a path is brought into one form") {
  CHECK(parse_target("/v1/sandboxes/sbx-1?x=%2f")->path == "/v1/sandboxes/sbx-1");
  CHECK(parse_target("/v1/sandboxes/sbx-1?x=%2f")->query == "x=%2f");
  CHECK(parse_target("/v1/%73andboxes")->path == "/v1/sandboxes");
}

TEST_CASE("paths that could mean something else after decoding are refused") {
  for (const char* target :
       {"/v1/sandboxes/..%2fa", "/v1/sandboxes/%2e%2e/x", "/v1/sandboxes/a%00", "/v1/../x", "/a/./b", "//v1", "/v1//x",
        "/v1/%", "/v1/%zz", "/v1/%2", "/v1/a b", "/v1/a\\b", "/v1/\xC3\xA4", "*", "", "v1"}) {
    CAPTURE(target);
    CHECK_FALSE(parse_target(target).has_value());
  }
  CHECK_FALSE(parse_target("/" + std::string(600, 'a')).has_value());
}

TEST_CASE("queries are read leniently") {
  const Query query("path=/tmp/a+b%20c%zz%&cmd=ls&cmd=-l&flag&empty=&recursive=true&a=b=c&&");
  CHECK(*query.find("path") == "/tmp/a b c%zz%");
  CHECK(*query.find("cmd") == "ls");
  CHECK(*query.find("a") == "b=c");
  CHECK(query.flag("flag"));
  CHECK(query.flag("empty"));
  CHECK(query.flag("recursive"));
  CHECK_FALSE(query.flag("cmd"));
  CHECK(query.find("missing") == nullptr);
}

TEST_CASE("ids are letters, digits, underscore, dot and hyphen, at most 128") {
  for (const char* id : {"a", "sbx-0123456789abcdef", "A.b_c-9"}) CHECK(is_valid_id(id));
  for (const char* id : {"", "-a", ".a", "_a", "a/b", "a b", "a~", "\xC3\xA4"}) CHECK_FALSE(is_valid_id(id));
  CHECK(is_valid_id(std::string(128, 'a')));
  CHECK_FALSE(is_valid_id(std::string(129, 'a')));
}
