// SPDX-License-Identifier: Apache-2.0
// The route functions themselves need an engine; only the table is asked here.
#include "server/router.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace sandforge::server;

TEST_CASE("every route is found by its own method and path") {
  Router router;
  for (const Route& route : routes()) {
    std::string path = route.pattern;
    const std::string group = "([^/]+)";
    const bool has_id = path.find(group) != std::string::npos;
    if (has_id) path.replace(path.find(group), group.size(), "sbx-1");
    const RouteMatch match = router.find(route.method, path);
    CAPTURE(path);
    CHECK(match.route == &route);
    CHECK(match.id == (has_id ? "sbx-1" : ""));
  }
}

TEST_CASE("HEAD finds the route of GET") {
  Router router;
  CHECK(router.find("HEAD", "/healthz").route != nullptr);
}

TEST_CASE("another method of a known path is told which there are") {
  Router router;
  const RouteMatch match = router.find("PATCH", "/v1/sandboxes");
  CHECK(match.route == nullptr);
  CHECK(match.allow == "GET, HEAD, POST");
  CHECK(router.find("BREW", "/healthz").allow == "GET, HEAD");
}

TEST_CASE("unknown paths match nothing") {
  Router router;
  for (const char* path :
       {"/", "/v1", "/v1/sandboxes/", "/v1/sandboxes/a/b", "/healthz/", "/v1/sandboxes/a/files/x", "/V1/info"}) {
    CAPTURE(path);
    const RouteMatch match = router.find("GET", path);
    CHECK(match.route == nullptr);
    CHECK(match.allow.empty());
  }
}
