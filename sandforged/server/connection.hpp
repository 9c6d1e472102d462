// SPDX-License-Identifier: Apache-2.0
// Connection: one client. Reads requests, has them answered, writes replies, notices when the client goes away.
#pragma once

#include <atomic>
#include <chrono>
#include <deque>
#include <memory>
#include <string>

#include "server/chunked.hpp"
#include "server/fd.hpp"
#include "server/loop.hpp"
#include "server/message.hpp"

namespace sandforge::server {

//   Head -> Body -> Busy -> Writing -> Head … or Linger -> Closed
//             `------^ uploads and requests without a body
// Everything on the loop thread, except what is marked; a worker owns the request and may use the socket by itself
// while worker_busy_ (the descriptor is then not closed, only shut down).
class Connection : public Exchange {
 public:
  Connection(Loop& loop, Fd socket, ListenerKind kind);

  void start();
  // At shutdown: closes at once when no request is being answered, after the reply otherwise.
  void drain();
  // Closes whatever happens.
  void abort();

  Request& request() override { return request_; }
  void post(std::function<void()> work) override;
  std::function<void(std::function<void()>)> poster() override;
  void post_after(std::chrono::milliseconds delay, std::function<void()> work) override;
  void post_to_worker(std::function<void()> work) override;
  void reply(Reply reply) override;
  void trickle() override;
  std::size_t read_body(char* buffer, std::size_t capacity) override;

 private:
  enum class Phase { Head, Body, Busy, Writing, Linger, Closed };

  // connection.cpp: reading and closing
  std::shared_ptr<Connection> self() { return std::static_pointer_cast<Connection>(shared_from_this()); }
  void wait_readable();
  void on_readable();
  void on_peer_closed();
  void on_deadline();
  void arm(std::chrono::milliseconds time);
  void next_request();
  void read_head();
  void on_head(const HeadError& error) { refuse(error.status, "bad_request", error.message); }
  void on_head(Head head);
  void begin_body();
  void refuse_body();
  void read_body_bytes();
  void refuse(int status, std::string_view code, std::string_view message);
  void refuse(Reply reply);
  void linger();
  void close();
  void free_body();

  // connection_answer.cpp: routing and replying
  void dispatch();
  std::optional<Reply> route_refusal(const RouteMatch& match) const;
  void run_route(const Route& route, const std::string& id);
  Answer guarded_call(const Route& route, const std::string& id);
  bool stream_reply(Reply& reply);
  bool send_blocking(std::string_view bytes);
  bool wait_blocking(short events);
  void worker_done(Answer answer);
  void worker_streamed(int status, bool well);
  bool take_back();
  void queue(std::string bytes);
  void write_out();
  void on_written();
  void log_request(int status);

  Loop& loop_;
  const ListenerKind kind_;
  asio::posix::stream_descriptor socket_;
  asio::steady_timer deadline_;
  asio::steady_timer later_;
  Phase phase_ = Phase::Head;
  bool reading_ = false;      // a wait for readability is pending
  bool worker_busy_ = false;  // a worker runs the route
  bool peer_closed_ = false;

  std::string in_;  // bytes received and not yet used
  HeadFinder finder_;
  Request request_;
  BodyDecoder decoder_;
  std::size_t body_mark_ = 0;     // size of the body when its deadline was last put off
  std::size_t budget_taken_ = 0;  // of loop_.body_bytes
  RouteMatch match_;
  bool has_request_ = false;
  bool continue_sent_ = false;
  bool body_left_ = false;  // part of the request's body was not read: the connection cannot be kept
  std::chrono::steady_clock::time_point started_;

  std::shared_ptr<Deferred> deferred_;
  std::deque<std::string> out_;
  std::size_t out_at_ = 0;  // sent of the first
  bool writing_ = false;    // a wait for writability is pending
  bool trickling_ = false;  // status and head are out, the body follows in chunks
  bool reply_queued_ = false;
  bool keep_alive_ = false;
  int status_ = 0;
};

}  // namespace sandforge::server
