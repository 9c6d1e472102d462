// SPDX-License-Identifier: Apache-2.0
#include "server/guard.hpp"

#include <doctest/doctest.h>

using namespace sandforge::server;

namespace {

Head with_host(const char* host) {
  Head head;
  head.host = host;
  head.headers.emplace_back("host", host);
  return head;
}
int verdict(const Head& head, ListenerKind kind, const Tokens* tokens = nullptr, const char* path = "/v1/info") {
  const auto reply = check_caller(head, path, kind, tokens);
  return reply ? reply->status : 0;
}

}  // namespace

TEST_CASE("loopback names are known in the forms that mean loopback everywhere") {
  for (const char* host :
       {"localhost", "LOCALHOST:8080", "localhost.", "127.0.0.1", "127.0.0.1:1", "127.9.9.9", "[::1]", "[::1]:8080"}) {
    CAPTURE(host);
    CHECK(is_loopback_host(host));
  }
  for (const char* host : {"", "evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "127.1",
                           "0x7f000001", "127.0.0.01", "128.0.0.1", "127.0.0.256", "[::2]", "[::1]x", "[::1",
                           "localhost:x", "localhost:123456", "127.0.0.1:", "::1", "0177.0.0.1"}) {
    CAPTURE(host);
    CHECK_FALSE(is_loopback_host(host));
  }
}

TEST_CASE("a foreign Host on a loopback listener is refused") {
  CHECK(verdict(with_host("evil.example"), ListenerKind::Loopback) == 403);
  CHECK(verdict(with_host("localhost:8080"), ListenerKind::Loopback) == 0);
  CHECK(verdict(with_host("anything"), ListenerKind::Unix) == 0);
}

TEST_CASE("a foreign Origin is refused on every listener") {
  for (const char* origin : {"http://evil.example", "null", "http://localhost:3000", "https://localhost:8080", ""}) {
    CAPTURE(origin);
    Head head = with_host("localhost:8080");
    head.headers.emplace_back("origin", origin);
    CHECK(verdict(head, ListenerKind::Loopback) == 403);
    CHECK(verdict(head, ListenerKind::Unix) == 403);
  }
  Head head = with_host("localhost:8080");
  head.headers.emplace_back("origin", "http://localhost:8080");
  CHECK(verdict(head, ListenerKind::Loopback) == 0);
  head.headers.emplace_back("origin", "http://evil.example");
  CHECK(verdict(head, ListenerKind::Loopback) == 403);
}

TEST_CASE("requests that a browser marks as coming from another site are refused") {
  Head head = with_host("localhost");
  head.headers.emplace_back("sec-fetch-site", "cross-site");
  CHECK(verdict(head, ListenerKind::Loopback) == 403);
}

TEST_CASE("tokens are required where they are configured, except for health and on Unix sockets") {
  const Tokens tokens{{"0123456789abcdef", "another-token-of-mine"}};
  Head head = with_host("box.example");
  CHECK(verdict(head, ListenerKind::Remote, &tokens) == 401);
  CHECK(verdict(head, ListenerKind::Remote, &tokens, "/healthz") == 0);
  CHECK(verdict(head, ListenerKind::Unix, &tokens) == 0);
  for (const char* value :
       {"Bearer 0123456789abcdeX", "Bearer 0123456789abcde", "Basic 0123456789abcdef", "Bearer ", ""}) {
    CAPTURE(value);
    Head wrong = head;
    wrong.headers.emplace_back("authorization", value);
    CHECK(verdict(wrong, ListenerKind::Remote, &tokens) == 401);
  }
  head.headers.emplace_back("authorization", "bearer another-token-of-mine");
  CHECK(verdict(head, ListenerKind::Remote, &tokens) == 0);
}
