// SPDX-License-Identifier: Apache-2.0
// What goes between a connection and a route: request, reply, and the exchange that joins them.
#pragma once

#include <sandforge/error.hpp>

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "server/head.hpp"

namespace sandforge::server {

struct Request {
  Head head;
  std::string path;   // normalised, see url.hpp
  std::string query;  // raw
  std::string body;   // whole; empty for uploads that a route reads itself
};

// A reply with a source is streamed by the worker that made it: `read` gives the next bytes (0: end) and may throw.
struct ReplySource {
  std::uint64_t length = 0;
  std::function<std::size_t(char* buffer, std::size_t capacity)> read;
};

struct Reply {
  int status = 200;
  std::string body;
  std::string content_type = "application/json";
  std::vector<std::pair<std::string, std::string>> headers;
  std::optional<ReplySource> source;
};

// Work that goes on after its route returned. Owned by the connection until it has replied. Loop thread.
class Deferred {
 public:
  virtual ~Deferred() = default;
  // The route has returned and the exchange is this object's: it may reply from here on. Not called after cancel().
  virtual void attached() = 0;
  // The client is gone: free what is held for it, call nothing of the exchange any more.
  virtual void cancel() = 0;
};

using Answer = std::variant<Reply, std::shared_ptr<Deferred>>;

// The side of a connection that routes see. Shared: it outlives the socket while work goes on.
class Exchange : public std::enable_shared_from_this<Exchange> {
 public:
  virtual ~Exchange() = default;
  // Of the request being answered; its owner is the one that answers.
  virtual Request& request() = 0;

  // Any thread. Runs on the loop thread, never inside the call.
  virtual void post(std::function<void()> work) = 0;
  // The same as a value that keeps no part of the exchange alive; valid as long as the server.
  virtual std::function<void(std::function<void()>)> poster() = 0;
  // Runs after `delay` on the loop thread, unless the exchange has ended.
  virtual void post_after(std::chrono::milliseconds delay, std::function<void()> work) = 0;
  // Runs on a worker, never on the loop thread.
  virtual void post_to_worker(std::function<void()> work) = 0;

  // Loop thread. Ends the exchange. After trickle() only the body counts: the status has been sent.
  virtual void reply(Reply reply) = 0;
  // Loop thread. Sends status 200 if nothing was sent yet, then one space: legal before a JSON text.
  virtual void trickle() = 0;

  // Worker thread, only in a route that reads its upload itself. BLOCKS. The next bytes of the body, 0 at its end;
  // throws Disconnected or TimedOut.
  virtual std::size_t read_body(char* buffer, std::size_t capacity) = 0;
};

// `{"error":…,"code":…}` and its status; see error_reply.cpp for the table.
Reply error_reply(int status, std::string_view code, std::string_view message, std::string_view remedy = {});
Reply error_reply(const Error& error);
// "16 MiB"; rounded down.
std::string in_mib(std::size_t bytes);

// The head of a reply as it goes over the wire. `length` empty: no Content-Length is written.
std::string format_head(const Reply& reply, const Head& request, bool keep_alive, std::optional<std::uint64_t> length);
const char* status_text(int status);

}  // namespace sandforge::server
