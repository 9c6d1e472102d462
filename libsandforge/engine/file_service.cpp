// SPDX-License-Identifier: Apache-2.0
#include "engine/file_service.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <csignal>

namespace sandforge::engine {

base::Result<std::unique_ptr<FileService>> FileService::create() {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) {
    return base::os_error("make a stream for the file server");
  }
  return std::unique_ptr<FileService>(new FileService(base::UniqueFd(ends[0]), base::UniqueFd(ends[1])));
}

base::Status FileService::start(const std::filesystem::path& helper_directory, int directory) {
  const auto gone = [] {
    return base::make_error(base::Code::Disconnected, "file_server_gone", "the file server has ended");
  };
  SANDFORGE_TRY(const fsd::Owner owner, fsd::owner_of(directory));
  fsd::FsdOptions options;
  options.helper_directory = helper_directory;
  options.uid = owner.uid;
  options.gid = owner.gid;
  {
    const std::lock_guard lock(mutex_);
    if (stopped_) return gone();
    if (server_) return {};
    options.transport = std::move(server_end_);
  }
  if (!options.transport) return gone();
  SANDFORGE_TRY(fsd::FileServer server, fsd::FileServer::spawn(std::move(options)));
  base::UniqueFd exited(::fcntl(server.pidfd(), F_DUPFD_CLOEXEC, 0));
  if (!exited) return base::os_error("watch the file server");
  {
    const std::lock_guard lock(mutex_);
    if (!stopped_) {
      exited_ = std::move(exited);
      server_.emplace(std::move(server));
      return {};
    }
  }
  return gone();  // and the server with it
}

int FileService::exited_fd() const noexcept {
  const std::lock_guard lock(mutex_);
  return exited_.get();
}

// By its pidfd, whatever another thread asks of it meanwhile: that call ends with the server.
void FileService::stop() noexcept {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  server_end_.reset();
  if (exited_) ::syscall(SYS_pidfd_send_signal, exited_.get(), SIGKILL, nullptr, 0);
}

base::Status FileService::serve(std::uint32_t index, int directory, bool read_only) {
  return server_->attach(index, directory, read_only);
}

base::Status FileService::withdraw(std::uint32_t index) { return server_->detach(index); }

}  // namespace sandforge::engine
