// SPDX-License-Identifier: Apache-2.0
#include "agent/agent.hpp"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/utsname.h>

#include "agent/clock.hpp"
#include "agent/files.hpp"
#include "agent/identity.hpp"
#include "agent/init/boot.hpp"
#include "agent/instant_operation.hpp"
#include "agent/seccomp_filter.hpp"
#include "agent/version.hpp"

namespace sandforge::agent {

namespace {
using Content = FileOperation::Content;

// Runs a file body on a decoded request.
template <typename Request>
using Body = base::Result<std::string> (*)(FileJob& job, const Request& request);

template <typename Request>
base::Result<std::shared_ptr<Operation>> file_operation(FileContext& context, Stream& stream, std::string_view bytes,
                                                        Content content, Body<Request> body) {
  SANDFORGE_TRY(Request request, wire::decode<Request>(bytes));
  FileBody bound = [request = std::move(request), body](FileJob& job) { return body(job, request); };
  return std::shared_ptr<Operation>(std::make_shared<FileOperation>(context, stream, content, std::move(bound)));
}
// Waits for a file server, hence on a worker's thread.
template <typename Request>
base::Result<std::shared_ptr<Operation>> workspace_operation(
    FileContext& context, Stream& stream, std::string_view bytes,
    std::function<base::Status(int root, const Request& request)> action) {
  SANDFORGE_TRY(Request request, wire::decode<Request>(bytes));
  FileBody bound = [request = std::move(request),
                    action = std::move(action)](FileJob& job) -> base::Result<std::string> {
    SANDFORGE_TRY_STATUS(action(job.root, request));
    return std::string();
  };
  return std::shared_ptr<Operation>(std::make_shared<FileOperation>(context, stream, Content::None, std::move(bound)));
}
}  // namespace

Agent::Agent(Console& console, AgentOptions options)
    : console_(console),
      options_(std::move(options)),
      reaper_(loop_),
      tasks_{loop_, reaper_, workers_, cgroups_, options_.root_path, -1, -1, {}, 0, {}},
      files_{loop_, workers_, -1},
      workspaces_(std::make_shared<Workspaces>(options_.workspaces)),
      channel_(loop_, *this) {}

base::Status Agent::open() {
  ::umask(0);  // modes are given exactly
  ::signal(SIGPIPE, SIG_IGN);
  // As an ordinary process: orphans of tasks come here all the same.
  ::prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0);
  SANDFORGE_TRY_STATUS(loop_.open());
  SANDFORGE_TRY_STATUS(reaper_.open());
  if (!options_.cgroup_path.empty()) SANDFORGE_TRY_STATUS(cgroups_.open(options_.cgroup_path.c_str()));
  root_.reset(::open(options_.root_path.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!root_) return base::os_error(options_.root_path);
  null_device_.reset(::open("/dev/null", O_RDWR | O_CLOEXEC));
  if (!null_device_) return base::os_error("/dev/null");
  tasks_.root = files_.root = root_.get();
  tasks_.null_device = null_device_.get();
  tasks_.filter = build_filter();
  if (::getrandom(&nonce_, sizeof(nonce_), GRND_NONBLOCK) != sizeof(nonce_)) {
    nonce_ = static_cast<std::uint64_t>(monotonic_ns());  // before the kernel's generator is ready
  }
  return {};
}

base::Status Agent::run(Channel::Kind kind, base::UniqueFd channel, std::uint32_t port) {
  ready_ns_ = monotonic_ns();
  SANDFORGE_TRY_STATUS(channel_.start(kind, std::move(channel), port));
  loop_.run();
  return {};
}

wire::Hello Agent::hello() {
  wire::Hello hello;
  hello.nonce = nonce_;
  hello.monotonic_ns = static_cast<std::uint64_t>(ready_ns_);
  hello.agent_version = kAgentVersion;
  utsname names{};
  if (::uname(&names) == 0) hello.kernel_release = names.release;
  return hello;
}

base::Status Agent::welcome(const wire::Welcome& welcome) {
  if (options_.in_guest) {
    if (welcome.realtime_ns != 0) SANDFORGE_TRY_STATUS(set_clock(welcome.realtime_ns));
    SANDFORGE_TRY_STATUS(add_entropy(welcome.entropy));
  }
  return set_identity(root_.get(), welcome.hostname, welcome.machine_id, options_.in_guest);
}

base::Result<std::shared_ptr<Operation>> Agent::make_operation(const wire::Open& open, Stream& stream) {
  using wire::Operation;
  switch (open.operation) {
    case Operation::Exec: {
      SANDFORGE_TRY(auto request, wire::decode<wire::ExecRequest>(open.request));
      SANDFORGE_TRY_STATUS(check_exec(request));
      return std::shared_ptr<agent::Operation>(std::make_shared<Task>(tasks_, stream, std::move(request)));
    }
    case Operation::FileRead: return file_operation(files_, stream, open.request, Content::FromFile, &read_file);
    case Operation::FileWrite: return file_operation(files_, stream, open.request, Content::ToFile, &write_file);
    case Operation::FileList: return file_operation(files_, stream, open.request, Content::Records, &list_directory);
    case Operation::FileStat: return file_operation(files_, stream, open.request, Content::None, &stat_path);
    case Operation::FileRemove: return file_operation(files_, stream, open.request, Content::None, &remove_path);
    case Operation::FileRename: return file_operation(files_, stream, open.request, Content::None, &rename_path);
    case Operation::MakeDirectory: return file_operation(files_, stream, open.request, Content::None, &make_directory);
    case Operation::SetClock: {
      SANDFORGE_TRY(const auto request, wire::decode<wire::ClockRequest>(open.request));
      return instant_operation(stream,
                               [this, request] { return own_guest([&] { return set_clock(request.realtime_ns); }); });
    }
    case Operation::AddEntropy: {
      SANDFORGE_TRY(const auto request, wire::decode<wire::EntropyRequest>(open.request));
      return instant_operation(stream,
                               [this, request] { return own_guest([&] { return add_entropy(request.entropy); }); });
    }
    case Operation::SetIdentity: {
      SANDFORGE_TRY(const auto request, wire::decode<wire::IdentityRequest>(open.request));
      return instant_operation(stream, [this, request] {
        return set_identity(root_.get(), request.hostname, request.machine_id, options_.in_guest);
      });
    }
    case Operation::Mount:
      return workspace_operation<wire::MountRequest>(
          files_, stream, open.request,
          [to = workspaces_](int root, const wire::MountRequest& request) { return to->mount(root, request); });
    case Operation::Unmount:
      return workspace_operation<wire::PathRequest>(files_, stream, open.request,
                                                    [from = workspaces_](int root, const wire::PathRequest& request) {
                                                      return from->unmount(root, request.path);
                                                    });
    case Operation::Shutdown:
      if (!open.request.empty()) return base::make_error(base::Code::Corrupt, "bad_message", "malformed Shutdown");
      return instant_operation(stream, [this] {
        loop_.defer([this] { shut_down(); });
        return base::Status();
      });
  }
  return base::make_error(base::Code::Unsupported, "unknown_operation", "unknown operation");
}

base::Status Agent::own_guest(const std::function<base::Status()>& action) {
  if (options_.in_guest) return action();
  return base::make_error(base::Code::Unsupported, "not_a_guest", "the agent does not own this machine");
}

void Agent::log(std::string_view text) { console_.line(text); }

void Agent::connected() {
  connection_ = std::make_unique<Connection>(loop_, channel_, *this);
  connection_->start();
}

void Agent::received(std::string_view bytes) {
  if (!connection_) return;
  const base::Status handled = connection_->received(bytes);
  if (handled) return;
  console_.line(handled.error().message + ": connection closed");
  connection_.reset();
  channel_.drop();
}

void Agent::drained() {
  if (connection_) connection_->backlog_cleared();
}

void Agent::disconnected() {
  connection_.reset();
  if (channel_.finished()) stop_when_idle();
}

void Agent::stop_when_idle() {
  tasks_.idle = [this] { loop_.stop(); };
  if (tasks_.alive == 0) loop_.defer(tasks_.idle);
}

// The answer leaves first, then the memory of the file systems, then the machine ends.
void Agent::shut_down() {
  console_.line("shutting down");
  channel_.flush_blocking(kFlushMs);
  connection_.reset();
  if (options_.in_guest) power_off(console_);
  stop_when_idle();
}

}  // namespace sandforge::agent
