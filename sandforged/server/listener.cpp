// SPDX-License-Identifier: Apache-2.0
#include "server/listener.hpp"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <cerrno>
#include <charconv>
#include <cstring>

namespace sandforge::server {
namespace {

constexpr const char* kAddressRemedy = "use ADDR:PORT, e.g. 127.0.0.1:8080 or [::1]:8080, or unix:/path/to.sock";

struct Address {
  sockaddr_storage storage{};
  socklen_t length = 0;
  bool loopback = false;
};

Fd make_socket(int family) {
  Fd fd(::socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd) throw Internal("socket", std::string("cannot make a socket: ") + std::strerror(errno), {}, errno);
  return fd;
}

Address parse_tcp(const std::string& text) {
  const std::size_t colon = text.rfind(':');
  std::uint16_t port = 0;
  bool good = colon != std::string::npos;
  if (good) {
    const char* begin = text.data() + colon + 1;
    const char* end = text.data() + text.size();
    const auto result = std::from_chars(begin, end, port);
    good = result.ec == std::errc() && result.ptr == end && begin != end;
  }
  if (!good) throw InvalidArgument("listen_address", "no port in listen address '" + text + "'", kAddressRemedy);
  std::string host = text.substr(0, colon);
  if (host == "localhost" || host.empty()) host = "127.0.0.1";
  Address address;
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    auto* in6 = reinterpret_cast<sockaddr_in6*>(&address.storage);
    in6->sin6_family = AF_INET6;
    in6->sin6_port = htons(port);
    address.length = sizeof *in6;
    good = inet_pton(AF_INET6, host.substr(1, host.size() - 2).c_str(), &in6->sin6_addr) == 1;
    address.loopback = good && IN6_IS_ADDR_LOOPBACK(&in6->sin6_addr);
  } else {
    auto* in4 = reinterpret_cast<sockaddr_in*>(&address.storage);
    in4->sin_family = AF_INET;
    in4->sin_port = htons(port);
    address.length = sizeof *in4;
    good = inet_pton(AF_INET, host.c_str(), &in4->sin_addr) == 1;
    address.loopback = good && ntohl(in4->sin_addr.s_addr) >> 24 == 127;
  }
  if (!good) throw InvalidArgument("listen_address", "'" + host + "' is not a numeric address", kAddressRemedy);
  return address;
}

// The address with the port that the kernel really chose.
std::string display_of(int fd) {
  sockaddr_storage storage{};
  socklen_t length = sizeof storage;
  getsockname(fd, reinterpret_cast<sockaddr*>(&storage), &length);
  char text[INET6_ADDRSTRLEN] = {};
  if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    inet_ntop(AF_INET6, &in6->sin6_addr, text, sizeof text);
    return "http://[" + std::string(text) + "]:" + std::to_string(ntohs(in6->sin6_port));
  }
  const auto* in4 = reinterpret_cast<const sockaddr_in*>(&storage);
  inet_ntop(AF_INET, &in4->sin_addr, text, sizeof text);
  return "http://" + std::string(text) + ":" + std::to_string(ntohs(in4->sin_port));
}

[[noreturn]] void fail_bind(const std::string& address, int number) {
  const std::string message = "cannot listen on " + address + ": " + std::strerror(number);
  if (number == EADDRINUSE) {
    throw Conflict("address_in_use", message, "stop the program that uses it, or choose another with --listen", number);
  }
  if (number == EACCES || number == EPERM) {
    throw Denied("listen_denied", message, "choose a port above 1023, or a directory that you may write to", number);
  }
  throw InvalidArgument("listen_address", message, "choose another address with --listen", number);
}

void start_listening(int fd, const std::string& address) {
  if (::listen(fd, SOMAXCONN) != 0) fail_bind(address, errno);
}

Listener open_tcp(const std::string& text, bool has_tokens) {
  const Address address = parse_tcp(text);
  if (!address.loopback && !has_tokens) {
    throw Denied("tokens_required", "refusing to listen on " + text + ", which others can reach, without tokens",
                 "listen on 127.0.0.1, on a Unix socket, or give --token-file FILE");
  }
  Listener listener;
  listener.fd = make_socket(address.storage.ss_family);
  listener.kind = address.loopback ? ListenerKind::Loopback : ListenerKind::Remote;
  const int on = 1;
  setsockopt(listener.fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (address.storage.ss_family == AF_INET6) {
    setsockopt(listener.fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
  }
  if (::bind(listener.fd.get(), reinterpret_cast<const sockaddr*>(&address.storage), address.length) != 0) {
    fail_bind(text, errno);
  }
  start_listening(listener.fd.get(), text);
  listener.display = display_of(listener.fd.get());
  return listener;
}

// Removes a socket file that a dead server left; anything else in the way is an error.
void clear_stale(const sockaddr_un& address, const std::string& text) {
  struct stat info {};
  if (::lstat(address.sun_path, &info) != 0) return;
  if (!S_ISSOCK(info.st_mode)) {
    throw Conflict("address_in_use", "cannot listen on " + text + ": a file that is no socket is in the way",
                   "remove it, or choose another path with --listen", EEXIST);
  }
  const Fd probe = make_socket(AF_UNIX);
  const int rc = ::connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address);
  if (rc == 0 || errno != ECONNREFUSED) fail_bind(text, EADDRINUSE);
  ::unlink(address.sun_path);
}

Listener open_unix(const std::string& text) {
  const std::string path = text.substr(5);
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof address.sun_path || path.find('\0') != std::string::npos) {
    throw InvalidArgument("listen_address", "the path of '" + text + "' is empty or longer than a socket path may be",
                          "use a path of at most 107 bytes");
  }
  std::memcpy(address.sun_path, path.data(), path.size());
  clear_stale(address, text);
  Listener listener;
  listener.kind = ListenerKind::Unix;
  listener.fd = make_socket(AF_UNIX);
  if (::bind(listener.fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) != 0) {
    fail_bind(text, errno);
  }
  listener.unix_path = path;
  start_listening(listener.fd.get(), text);
  listener.display = "unix:" + path;
  return listener;
}

}  // namespace

Listener open_listener(const std::string& address, bool has_tokens) {
  return address.starts_with("unix:") ? open_unix(address) : open_tcp(address, has_tokens);
}

}  // namespace sandforge::server
