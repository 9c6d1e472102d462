// SPDX-License-Identifier: Apache-2.0
// The reading half of Connection: heads, bodies, deadlines, and how a connection ends.
#include "server/connection.hpp"

#include <sys/socket.h>

#include <cerrno>

#include "server/url.hpp"

namespace sandforge::server {

using std::chrono::milliseconds;

namespace {
constexpr milliseconds kLingerTime{2000};
constexpr std::string_view kContinue = "HTTP/1.1 100 Continue\r\n\r\n";
}  // namespace

Connection::Connection(Loop& loop, Fd socket, ListenerKind kind)
    : loop_(loop), kind_(kind), socket_(loop.io, socket.release()), deadline_(loop.io), later_(loop.io) {
  socket_.non_blocking(true);
}

void Connection::start() {
  arm(caps::kIdleTime);
  wait_readable();
}

void Connection::arm(milliseconds time) {
  deadline_.expires_after(time);
  deadline_.async_wait([weak = weak_from_this()](const asio::error_code& error) {
    if (error) return;
    if (const auto exchange = weak.lock()) static_cast<Connection&>(*exchange).on_deadline();
  });
}

void Connection::on_deadline() {
  // The timer may have been set anew after this call was queued.
  if (deadline_.expiry() > std::chrono::steady_clock::now()) return;
  switch (phase_) {
    case Phase::Head:
      if (in_.empty()) {
        close();
      } else {
        refuse(408, "request_timeout", "the request head did not arrive in time");
      }
      break;
    case Phase::Body: refuse(408, "request_timeout", "the request body did not arrive in time"); break;
    case Phase::Writing:
    case Phase::Linger: close(); break;
    case Phase::Busy:
    case Phase::Closed: break;
  }
}

void Connection::wait_readable() {
  if (reading_ || peer_closed_ || phase_ == Phase::Closed) return;
  reading_ = true;
  socket_.async_wait(asio::posix::stream_descriptor::wait_read, [keep = self()](const asio::error_code& error) {
    keep->reading_ = false;
    if (!error && keep->phase_ != Phase::Closed) keep->on_readable();
  });
}

void Connection::on_readable() {
  if (phase_ == Phase::Busy && worker_busy_ && match_.route != nullptr && match_.route->reads_body) return;
  const ssize_t count = ::recv(socket_.native_handle(), loop_.scratch.data(), loop_.scratch.size(), MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) {
    wait_readable();
    return;
  }
  if (count <= 0) {
    peer_closed_ = true;
    on_peer_closed();
    return;
  }
  if (phase_ == Phase::Linger) {
    wait_readable();
    return;
  }
  const bool first = in_.empty();
  in_.append(loop_.scratch, 0, static_cast<std::size_t>(count));
  if (phase_ == Phase::Head) {
    if (first) arm(caps::kHeadTime);
    read_head();
  } else if (phase_ == Phase::Body) {
    read_body_bytes();
  } else if (in_.size() < caps::kPipelinedBytes) {
    wait_readable();
  }
}

// The client closed its side. That is its way of going away; a request whose command or create still runs ends with it.
void Connection::on_peer_closed() {
  if (phase_ == Phase::Busy && deferred_ != nullptr) {
    log_request(499);
    close();
  } else if (phase_ == Phase::Head || phase_ == Phase::Body || phase_ == Phase::Linger) {
    close();
  }
  // Otherwise a worker is about to answer, or the reply is on its way: writing finds out.
}

void Connection::next_request() {
  request_ = {};
  finder_ = {};
  match_ = {};
  has_request_ = continue_sent_ = body_left_ = trickling_ = reply_queued_ = false;
  phase_ = Phase::Head;
  if (peer_closed_) {
    close();
    return;
  }
  arm(in_.empty() ? milliseconds(caps::kIdleTime) : milliseconds(caps::kHeadTime));
  // Never from inside the previous request's reply: pipelined requests would nest.
  asio::post(loop_.io, [keep = self()] {
    if (keep->phase_ == Phase::Head) keep->read_head();
  });
}

void Connection::read_head() {
  if (in_.starts_with("\r\n")) in_.erase(0, 2);  // SPEC: RFC 9112, 2.2: one empty line before a request is ignored
  const auto found = finder_.find(in_);
  if (const auto* error = std::get_if<HeadError>(&found)) {
    on_head(*error);
  } else if (const auto* length = std::get_if<std::size_t>(&found)) {
    auto parsed = parse_head(std::string_view(in_).substr(0, *length));
    in_.erase(0, *length);
    if (const auto* bad = std::get_if<HeadError>(&parsed)) {
      on_head(*bad);
    } else {
      on_head(std::get<Head>(std::move(parsed)));
    }
  } else {
    wait_readable();
  }
}

void Connection::on_head(Head head) {
  started_ = std::chrono::steady_clock::now();
  request_.head = std::move(head);
  has_request_ = true;
  decoder_ = BodyDecoder(request_.head);
  body_left_ = !decoder_.done();
  keep_alive_ = request_.head.keep_alive && !loop_.draining;
  auto target = parse_target(request_.head.target);
  if (!target) {
    refuse(400, "invalid_path", "the request path has characters or escapes that no route and no id can have");
    return;
  }
  request_.path = std::move(target->path);
  request_.query = std::move(target->query);
  if (auto refusal = check_caller(request_.head, request_.path, kind_, loop_.tokens)) {
    refuse(*std::move(refusal));
    return;
  }
  match_ = loop_.router.find(request_.head.method, request_.path);
  if (auto refusal = route_refusal(match_)) {
    refuse(*std::move(refusal));
    return;
  }
  begin_body();
}

void Connection::refuse_body() {
  refuse(413, "too_large",
         "the request body is larger than " + in_mib(loop_.context.limits.body_bytes) +
             "; send file contents with PUT …/files/content");
}

void Connection::begin_body() {
  if (decoder_.done() || match_.route->reads_body) {
    dispatch();
    return;
  }
  if (request_.head.body == BodyKind::Length && request_.head.content_length > loop_.context.limits.body_bytes) {
    refuse_body();
    return;
  }
  phase_ = Phase::Body;
  body_mark_ = 0;
  arm(caps::kBodyTime);
  if (request_.head.expect_continue && in_.empty()) queue(std::string(kContinue));
  if (phase_ != Phase::Body) return;  // the client was gone
  read_body_bytes();
}

void Connection::read_body_bytes() {
  std::string_view rest = in_;
  const std::size_t before = request_.body.size();
  const auto status = decoder_.feed(rest, request_.body, loop_.context.limits.body_bytes + 1 - before);
  in_.erase(0, in_.size() - rest.size());
  const std::size_t grown = request_.body.size() - before;
  loop_.body_bytes += grown;
  budget_taken_ += grown;
  if (status == BodyDecoder::Status::Bad) {
    refuse(400, "bad_request", "malformed chunked request body");
  } else if (request_.body.size() > loop_.context.limits.body_bytes) {
    refuse_body();
  } else if (loop_.body_bytes > loop_.context.limits.body_bytes_total) {
    refuse(503, "no_capacity", "too many large requests at once; try again");
  } else if (status == BodyDecoder::Status::Done) {
    body_left_ = false;
    dispatch();
  } else {
    if (request_.body.size() - body_mark_ >= caps::kBodyStep) {
      body_mark_ = request_.body.size();
      arm(caps::kBodyTime);
    }
    wait_readable();
  }
}

void Connection::refuse(int status, std::string_view code, std::string_view message) {
  refuse(error_reply(status, code, message));
}

// A reply without a route. The connection is kept only when the whole request has been read.
void Connection::refuse(Reply reply) {
  if (!has_request_) {
    keep_alive_ = false;
    started_ = std::chrono::steady_clock::now();
  }
  phase_ = Phase::Busy;
  this->reply(std::move(reply));
}

void Connection::free_body() {
  loop_.body_bytes -= budget_taken_;
  budget_taken_ = 0;
  std::string().swap(request_.body);
}

// Ends our side first and reads on for a while: closing with unread bytes would reset the connection, and the client
// might never see the reply.
void Connection::linger() {
  phase_ = Phase::Linger;
  ::shutdown(socket_.native_handle(), SHUT_WR);
  in_.clear();
  arm(kLingerTime);
  if (peer_closed_) {
    close();
  } else {
    wait_readable();
  }
}

void Connection::close() {
  if (phase_ == Phase::Closed) return;
  phase_ = Phase::Closed;
  const auto keep = self();
  deadline_.cancel();
  later_.cancel();
  if (const auto deferred = std::exchange(deferred_, nullptr)) deferred->cancel();
  if (worker_busy_) {
    ::shutdown(socket_.native_handle(), SHUT_RDWR);  // wakes the worker; the descriptor stays its own until then
  } else {
    free_body();
    asio::error_code ignored;
    socket_.close(ignored);
  }
  loop_.connections.erase(keep);
  if (loop_.connection_closed) loop_.connection_closed();
}

void Connection::drain() {
  keep_alive_ = false;
  if (phase_ == Phase::Head || phase_ == Phase::Body) close();
}

void Connection::abort() { close(); }

}  // namespace sandforge::server
