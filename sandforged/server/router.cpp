// SPDX-License-Identifier: Apache-2.0
#include "server/router.hpp"

#include <httplib.h>

#include <algorithm>
#include <cstring>
#include <string_view>

namespace sandforge::server {
namespace {

// What cpp-httplib reads: a request made by us, of the method and the normalised path and nothing else, so that none of
// its own decoding, body reading or content negotiation sees a client's bytes. What it writes is dropped: replies are
// written by the connection, which may have to wait for a guest first.
class RequestLine : public httplib::Stream {
 public:
  RequestLine(const std::string& method, const std::string& path)
      : text_(method + " " + path + " HTTP/1.1\r\nHost: route\r\nContent-Length: 0\r\n\r\n") {}

  bool is_readable() const override { return true; }
  bool is_writable() const override { return true; }
  ssize_t read(char* buffer, std::size_t size) override {
    const std::size_t count = std::min(size, text_.size() - at_);
    std::memcpy(buffer, text_.data() + at_, count);
    at_ += count;
    return static_cast<ssize_t>(count);
  }
  ssize_t write(const char*, std::size_t size) override { return static_cast<ssize_t>(size); }
  void get_remote_ip_and_port(std::string&, int&) const override {}
  void get_local_ip_and_port(std::string&, int&) const override {}
  socket_t socket() const override { return INVALID_SOCKET; }

 private:
  std::string text_;
  std::size_t at_ = 0;
};

constexpr std::string_view kMethods[] = {"GET", "POST", "PUT", "DELETE"};

}  // namespace

// Never listens: process_request() alone is used.
class Router::Table : public httplib::Server {
 public:
  Table() {
    for (const Route& route : routes()) {
      const Handler handler = [this, &route](const httplib::Request& request, httplib::Response&) {
        match_.route = &route;
        if (request.matches.size() > 1) match_.id = request.matches[1].str();
      };
      const std::string_view method = route.method;
      if (method == "GET") Get(route.pattern, handler);
      if (method == "POST") Post(route.pattern, handler);
      if (method == "PUT") Put(route.pattern, handler);
      if (method == "DELETE") Delete(route.pattern, handler);
    }
  }

  RouteMatch match(const std::string& method, const std::string& path) {
    match_ = {};
    RequestLine stream(method, path);
    bool closed = false;
    process_request(stream, true, closed, [](httplib::Request&) {});
    return std::move(match_);
  }

 private:
  RouteMatch match_;  // of the request being matched
};

Router::Router() : table_(std::make_unique<Table>()) {}
Router::~Router() = default;

RouteMatch Router::find(const std::string& method, const std::string& path) {
  const std::string wanted = method == "HEAD" ? "GET" : method;
  const bool known = std::find(std::begin(kMethods), std::end(kMethods), wanted) != std::end(kMethods);
  RouteMatch match;
  if (known) match = table_->match(wanted, path);
  if (match.route != nullptr) return match;
  for (const std::string_view other : kMethods) {
    if (other == wanted || table_->match(std::string(other), path).route == nullptr) continue;
    if (!match.allow.empty()) match.allow += ", ";
    match.allow += other;
    if (other == "GET") match.allow += ", HEAD";
  }
  return match;
}

}  // namespace sandforge::server
