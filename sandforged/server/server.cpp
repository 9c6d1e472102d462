// SPDX-License-Identifier: Apache-2.0
// Start, accept, shut down.
//   listeners and engine first, READY when both work; one loop thread (this one), workers beside it
//   first SIGINT or SIGTERM: no new connections, every sandbox destroyed (their commands end with a verdict that is
//   still written), then the loop ends; the second signal ends the process at once
#include "server/server.hpp"

#include <malloc.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>

#include "server/connection.hpp"
#include "server/listener.hpp"
#include "server/loop.hpp"

namespace sandforge::server {
namespace {

using std::chrono::milliseconds;

void raise_descriptor_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur >= limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  setrlimit(RLIMIT_NOFILE, &limit);
}

// Accepts on one listening socket. Loop thread.
class Acceptor {
 public:
  Acceptor(Loop& loop, Listener listener)
      : loop_(loop), listener_(std::move(listener)), socket_(loop.io, listener_.fd.release()), retry_(loop.io) {}
  ~Acceptor() {
    if (!listener_.unix_path.empty()) ::unlink(listener_.unix_path.c_str());
  }

  const std::string& display() const { return listener_.display; }
  const Listener& listener() const { return listener_; }
  void stop() {
    asio::error_code ignored;
    socket_.close(ignored);
    retry_.cancel();
  }
  // A place has become free.
  void resume() {
    if (full_) wait();
  }

  void wait() {
    full_ = false;
    socket_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const asio::error_code& error) {
      if (!error && socket_.is_open()) accept();
    });
  }

 private:
  void accept() {
    constexpr int kBatch = 64;
    for (int i = 0; i < kBatch; ++i) {
      if (loop_.connections.size() >= loop_.context.limits.connections) {
        full_ = true;  // the rest waits in the kernel's queue
        return;
      }
      Fd fd(::accept4(socket_.native_handle(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
      if (fd) {
        const auto connection = std::make_shared<Connection>(loop_, std::move(fd), listener_.kind);
        loop_.connections.insert(connection);
        connection->start();
      } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
        retry_later();
        return;
      } else if (errno == EAGAIN) {
        break;
      }
    }
    wait();
  }

  // Out of descriptors: the socket stays readable, so waiting for that would spin.
  void retry_later() {
    loop_.log.write(LogLevel::Warn, {{"msg", "cannot accept connections"}, {"error", std::strerror(errno)}});
    retry_.expires_after(milliseconds(100));
    retry_.async_wait([this](const asio::error_code& error) {
      if (!error) wait();
    });
  }

  Loop& loop_;
  Listener listener_;
  asio::posix::stream_descriptor socket_;
  asio::steady_timer retry_;
  bool full_ = false;
};

class Daemon {
 public:
  explicit Daemon(const ServeOptions& options)
      : log_(options.log_level), loop_(options.log_level), signals_(loop_.io), drained_(loop_.io) {
    if (!options.token_file.empty()) {
      tokens_ = read_token_file(options.token_file);
      loop_.tokens = &tokens_;
    }
    for (const std::string& address : options.listen) {
      acceptors_.push_back(std::make_unique<Acceptor>(loop_, open_listener(address, loop_.tokens != nullptr)));
    }
    EngineOptions engine_options = options.engine;
    tell_audience(engine_options, options.token_file);
    engine_options.log_level = options.log_level;
    engine_options.log = [this](LogLevel level, std::string_view message) {
      log_.write(level, {{"source", "engine"}, {"msg", message}});
    };
    engine_ = std::make_unique<Engine>(engine_options);
    loop_.context.engine = engine_.get();
    loop_.context.limits = options.limits;
    loop_.context.destroy_later = [this](Sandbox sandbox) { destroy_later(std::move(sandbox)); };
    loop_.connection_closed = [this] { on_connection_closed(); };
  }

  int run() {
    signals_.add(SIGINT);
    signals_.add(SIGTERM);
    wait_for_signal();
    std::string listening;
    for (const auto& acceptor : acceptors_) {
      acceptor->wait();
      listening += (listening.empty() ? "" : ",") + acceptor->display();
    }
    log_.write(LogLevel::Info, {{"msg", "ready"}, {"version", library_version()}, {"listening", listening}});
    const std::string ready = "READY listening=" + listening + "\n";
    [[maybe_unused]] const ssize_t written = ::write(STDOUT_FILENO, ready.data(), ready.size());
    loop_.io.run();
    loop_.end_workers();
    log_.write(LogLevel::Info, {{"msg", "stopped"}});
    return 0;
  }

 private:
  // Who can reach us, and which files of ours no mount may reach.
  void tell_audience(EngineOptions& engine_options, const std::string& token_file) const {
    engine_options.audience = Audience::Loopback;
    if (!token_file.empty()) engine_options.protected_paths.push_back(token_file);
    for (const auto& acceptor : acceptors_) {
      if (acceptor->listener().kind == ListenerKind::Remote) engine_options.audience = Audience::Remote;
      if (const std::string& path = acceptor->listener().unix_path; !path.empty()) {
        engine_options.protected_paths.push_back(path);
      }
    }
  }

  void wait_for_signal() {
    signals_.async_wait([this](const asio::error_code& error, int number) {
      if (error) return;
      if (loop_.draining) ::_exit(128 + number);
      wait_for_signal();
      begin_shutdown(number);
    });
  }

  void begin_shutdown(int number) {
    log_.write(LogLevel::Info, {{"msg", "shutting down"}, {"signal", std::to_string(number)}});
    loop_.draining = true;
    for (const auto& acceptor : acceptors_) acceptor->stop();
    const auto connections = loop_.connections;
    for (const auto& connection : connections) connection->drain();
    destroy_all();
  }

  // Commands end with their sandboxes, and creates under way fail: nothing is left to wait for but replies.
  void destroy_all() {
    std::vector<SandboxInfo> sandboxes;
    try {
      sandboxes = engine_->list();
    } catch (const Error& error) {
      log_.write(LogLevel::Error, {{"msg", "cannot list sandboxes"}, {"error", error.what()}});
    }
    left_ = 1;
    for (const SandboxInfo& info : sandboxes) {
      ++left_;
      const bool queued = loop_.destroy->submit({}, [this, id = info.id] {
        try {
          Sandbox::open(*engine_, id).destroy();
        } catch (const Error&) {
          // Gone already, or the end of the engine gets it.
        }
        asio::post(loop_.io, [this] { one_destroyed(); });
      });
      if (!queued) --left_;
    }
    one_destroyed();
  }

  void one_destroyed() {
    if (--left_ != 0) return;
    drained_.expires_after(caps::kDrainTime);
    drained_.async_wait([this](const asio::error_code&) { stop(); });
    if (loop_.connections.empty()) drained_.cancel();
  }

  void on_connection_closed() {
    for (const auto& acceptor : acceptors_) acceptor->resume();
    if (loop_.draining && left_ == 0 && loop_.connections.empty()) drained_.cancel();
  }

  void stop() {
    loop_.connection_closed = nullptr;
    const auto connections = loop_.connections;
    for (const auto& connection : connections) connection->abort();
    loop_.io.stop();
  }

  void destroy_later(Sandbox sandbox) {
    const auto shared = std::make_shared<Sandbox>(std::move(sandbox));
    loop_.destroy->submit({}, [this, shared] {
      try {
        shared->destroy();
      } catch (const Error& error) {
        log_.write(LogLevel::Warn, {{"msg", "cannot destroy sandbox"}, {"id", shared->id()}, {"error", error.what()}});
      }
    });
  }

  // Order matters: the workers have ended (run), then the engine (it posts to the loop), then the loop.
  const Log log_;
  Tokens tokens_;
  Loop loop_;
  std::vector<std::unique_ptr<Acceptor>> acceptors_;
  asio::signal_set signals_;
  asio::steady_timer drained_;
  std::size_t left_ = 0;  // sandboxes still to be destroyed, at shutdown
  std::unique_ptr<Engine> engine_;
};

}  // namespace

int serve(const ServeOptions& options) {
  std::signal(SIGPIPE, SIG_IGN);
  ::umask(077);
  raise_descriptor_limit();
  // Fixed: else the C library would keep what large bodies took, in arenas of hundreds of MiB.
  ::mallopt(M_MMAP_THRESHOLD, static_cast<int>(caps::kMiB));
  return Daemon(options).run();
}

}  // namespace sandforge::server
