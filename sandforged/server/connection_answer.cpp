// SPDX-License-Identifier: Apache-2.0
// The answering half of Connection: a route's run on a worker, replies, streams, the log line.
#include <poll.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <exception>
#include <vector>

#include "server/connection.hpp"
#include "server/url.hpp"

namespace sandforge::server {
namespace {

constexpr std::size_t kStreamStep = 256 * caps::kKiB;

Reply busy_reply() {
  return error_reply(503, "no_capacity", "the server has too many requests waiting", "try again in a moment");
}

}  // namespace

void Connection::post(std::function<void()> work) { asio::post(loop_.io, std::move(work)); }

std::function<void(std::function<void()>)> Connection::poster() {
  return [&io = loop_.io](std::function<void()> work) { asio::post(io, std::move(work)); };
}

void Connection::post_after(std::chrono::milliseconds delay, std::function<void()> work) {
  later_.expires_after(delay);
  later_.async_wait([work = std::move(work)](const asio::error_code& error) {
    if (!error) work();
  });
}

void Connection::post_to_worker(std::function<void()> work) {
  if (!loop_.quick->submit({}, work)) work();  // a full queue slows the loop rather than losing a result
}

std::optional<Reply> Connection::route_refusal(const RouteMatch& match) const {
  if (match.route == nullptr) {
    if (match.allow.empty()) return error_reply(404, "no_such_route", "no such route: " + request_.path);
    Reply reply = error_reply(405, "method_not_allowed", "this path does not have the method " + request_.head.method);
    reply.headers.emplace_back("Allow", match.allow);
    return reply;
  }
  if (!match.id.empty() && !is_valid_id(match.id)) return error_reply(400, "invalid_id", "invalid sandbox id");
  return std::nullopt;
}

void Connection::dispatch() {
  phase_ = Phase::Busy;
  deadline_.cancel();
  worker_busy_ = true;
  const std::string key = match_.route->lane == Lane::Files ? match_.id : std::string();
  const auto job = [keep = self(), route = match_.route, id = match_.id] { keep->run_route(*route, id); };
  if (!loop_.pool(match_.route->lane).submit(key, job)) {
    worker_busy_ = false;
    reply(busy_reply());
    return;
  }
  if (!match_.route->reads_body && in_.size() < caps::kPipelinedBytes) wait_readable();
}

// Worker thread.
Answer Connection::guarded_call(const Route& route, const std::string& id) {
  try {
    return route.handler(loop_.context, *this, id);
  } catch (const Error& error) {
    return error_reply(error);
  } catch (const std::bad_alloc&) {
    return error_reply(503, "no_capacity", "out of memory");
  } catch (const std::exception& error) {
    return error_reply(500, "internal", error.what());
  }
}

// Worker thread.
void Connection::run_route(const Route& route, const std::string& id) {
  Answer answer = guarded_call(route, id);
  auto* reply = std::get_if<Reply>(&answer);
  if (reply != nullptr && reply->source && request_.head.method != "HEAD") {
    const bool well = stream_reply(*reply);
    post([keep = self(), status = reply->status, well] { keep->worker_streamed(status, well); });
  } else {
    post([keep = self(), answer = std::move(answer)]() mutable { keep->worker_done(std::move(answer)); });
  }
}

// The socket and the request are the loop's again. False when the connection was closed meanwhile.
bool Connection::take_back() {
  worker_busy_ = false;
  free_body();
  body_left_ = body_left_ && !decoder_.done();
  if (phase_ != Phase::Closed) return true;
  asio::error_code ignored;
  socket_.close(ignored);
  return false;
}

void Connection::worker_done(Answer answer) {
  const bool open = take_back();
  if (auto* reply = std::get_if<Reply>(&answer)) {
    if (open) this->reply(std::move(*reply));
    return;
  }
  auto deferred = std::get<std::shared_ptr<Deferred>>(std::move(answer));
  if (!open) {
    deferred->cancel();
    return;
  }
  deferred_ = deferred;
  if (peer_closed_) {
    on_peer_closed();
    return;
  }
  wait_readable();  // from now on only a disconnect matters
  deferred->attached();
}

void Connection::worker_streamed(int status, bool well) {
  if (!take_back()) return;
  keep_alive_ = keep_alive_ && well && !body_left_;
  status_ = status;
  reply_queued_ = true;
  phase_ = Phase::Writing;
  on_written();
}

// Worker thread. BLOCKS until the descriptor is ready; false when it is not within the write limit.
bool Connection::wait_blocking(short events) {
  pollfd ready{socket_.native_handle(), events, 0};
  const std::chrono::milliseconds limit = caps::kWriteTime;
  for (;;) {
    const int count = ::poll(&ready, 1, static_cast<int>(limit.count()));
    if (count > 0) return true;
    if (count == 0 || errno != EINTR) return false;
  }
}

// Worker thread.
bool Connection::send_blocking(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t count = ::send(socket_.native_handle(), bytes.data(), bytes.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count > 0) {
      bytes.remove_prefix(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN) {
      if (!wait_blocking(POLLOUT)) return false;
    } else if (errno != EINTR) {
      return false;
    }
  }
  return true;
}

// Worker thread. The length was promised in the head: a source that ends early or fails breaks the connection, which
// is how the client learns of it.
bool Connection::stream_reply(Reply& reply) {
  std::uint64_t left = reply.source->length;
  if (!send_blocking(format_head(reply, request_.head, keep_alive_, left))) return false;
  std::vector<char> buffer(kStreamStep);
  try {
    while (left > 0) {
      const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(left, buffer.size()));
      const std::size_t count = reply.source->read(buffer.data(), want);
      if (count == 0 || !send_blocking(std::string_view(buffer.data(), count))) return false;
      left -= count;
    }
    return true;
  } catch (const Error& error) {
    loop_.log.write(LogLevel::Warn, {{"msg", "download broken off"}, {"path", request_.path}, {"error", error.what()}});
    return false;
  }
}

// Worker thread.
std::size_t Connection::read_body(char* buffer, std::size_t capacity) {
  if (request_.head.expect_continue && !continue_sent_ && in_.empty()) {
    send_blocking("HTTP/1.1 100 Continue\r\n\r\n");
  }
  continue_sent_ = true;
  std::string decoded;
  while (decoded.empty() && !decoder_.done()) {
    if (in_.empty()) {
      std::string chunk(kStreamStep, '\0');
      const ssize_t count = ::recv(socket_.native_handle(), chunk.data(), chunk.size(), MSG_DONTWAIT);
      if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
        if (!wait_blocking(POLLIN)) throw TimedOut("request_timeout", "the request body did not arrive in time");
        continue;
      }
      if (count <= 0) throw Disconnected("client_gone", "the client went away in the middle of its upload");
      in_.assign(chunk, 0, static_cast<std::size_t>(count));
    }
    std::string_view rest = in_;
    const auto status = decoder_.feed(rest, decoded, capacity);
    in_.erase(0, in_.size() - rest.size());
    if (status == BodyDecoder::Status::Bad) throw InvalidArgument("bad_request", "malformed chunked request body");
  }
  std::copy(decoded.begin(), decoded.end(), buffer);
  return decoded.size();
}

void Connection::reply(Reply reply) {
  const auto keep = self();
  const auto deferred = std::exchange(deferred_, nullptr);  // lives until this reply is queued
  if (phase_ != Phase::Busy || reply_queued_) return;
  later_.cancel();
  free_body();
  keep_alive_ = keep_alive_ && !body_left_ && !loop_.draining;
  reply_queued_ = true;
  const bool head_only = has_request_ && request_.head.method == "HEAD";
  if (trickling_) {
    if (request_.head.minor == 0) {
      queue(std::move(reply.body));
    } else {
      std::array<char, 24> size{};
      const auto end = std::to_chars(size.data(), size.data() + size.size(), reply.body.size(), 16).ptr;
      queue(std::string(size.data(), end) + "\r\n");
      queue(std::move(reply.body));
      queue("\r\n0\r\n\r\n");
    }
  } else {
    status_ = reply.status;
    const std::uint64_t length = reply.source ? reply.source->length : reply.body.size();
    queue(format_head(reply, request_.head, keep_alive_, length));
    if (!head_only && reply.status != 204) queue(std::move(reply.body));
  }
  phase_ = Phase::Writing;
  arm(caps::kWriteTime);
  write_out();
}

void Connection::trickle() {
  if (phase_ != Phase::Busy || reply_queued_) return;
  const bool chunked = request_.head.minor == 1;
  if (!trickling_) {
    trickling_ = true;
    status_ = 200;
    if (!chunked) keep_alive_ = false;
    Reply reply;
    if (chunked) reply.headers.emplace_back("Transfer-Encoding", "chunked");
    queue(format_head(reply, request_.head, keep_alive_ && !body_left_, std::nullopt));
  }
  if (out_.size() > 8) {  // for two minutes the client took nothing
    log_request(499);
    close();
    return;
  }
  queue(chunked ? "1\r\n \r\n" : " ");
  write_out();
}

void Connection::queue(std::string bytes) {
  if (!bytes.empty()) out_.push_back(std::move(bytes));
  if (phase_ == Phase::Body) write_out();
}

void Connection::write_out() {
  if (writing_) return;
  while (!out_.empty()) {
    const std::string& front = out_.front();
    const ssize_t count =
        ::send(socket_.native_handle(), front.data() + out_at_, front.size() - out_at_, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0 && errno == EAGAIN) {
      writing_ = true;
      socket_.async_wait(asio::posix::stream_descriptor::wait_write, [keep = self()](const asio::error_code& error) {
        keep->writing_ = false;
        if (!error && keep->phase_ != Phase::Closed) keep->write_out();
      });
      return;
    }
    if (count < 0) {
      if (has_request_) log_request(499);
      close();
      return;
    }
    out_at_ += static_cast<std::size_t>(count);
    if (out_at_ == front.size()) {
      out_.pop_front();
      out_at_ = 0;
    }
    if (phase_ == Phase::Writing) arm(caps::kWriteTime);
  }
  if (phase_ == Phase::Writing) on_written();
}

void Connection::on_written() {
  log_request(status_);
  if (keep_alive_ && !loop_.draining) {
    next_request();
  } else {
    linger();
  }
}

void Connection::log_request(int status) {
  const auto took = std::chrono::steady_clock::now() - started_;
  const std::string ms = std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(took).count());
  const std::string path = has_request_ ? request_.path.empty() ? request_.head.target : request_.path : "-";
  loop_.log.write(status >= 500 ? LogLevel::Warn : LogLevel::Info,
                  {{"method", has_request_ ? request_.head.method : "-"},
                   {"path", path},
                   {"status", std::to_string(status)},
                   {"ms", ms}});
}

}  // namespace sandforge::server
