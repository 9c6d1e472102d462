// SPDX-License-Identifier: Apache-2.0
// A file server in this process over a directory of the host, and a kernel's half of the conversation.
#pragma once

#include <doctest/doctest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "fsd/clone.hpp"
#include "fsd/messages.hpp"
#include "fsd/server/server.hpp"

namespace sandforge::fsd::test {

// The answer to one request.
struct Got {
  bool broken = false;
  bool answered = false;
  int error = 0;
  std::string body;

  template <typename T>
  T as() const {
    T value{};
    std::memcpy(&value, body.data(), std::min(body.size(), sizeof value));
    return value;
  }
};

class TemporaryTree {
 public:
  TemporaryTree();
  ~TemporaryTree();
  const std::filesystem::path& path() const { return path_; }
  void write(const std::string& name, const std::string& text) const;
  std::string read(const std::string& name) const;

 private:
  std::filesystem::path path_;
};

// Whether this process may clone mounts; tests that need it say so and pass without it.
bool can_clone();

// The server's process has none; the test program gets its own back.
class NoUmask {
 public:
  NoUmask() : before_(::umask(0)) {}
  ~NoUmask() { ::umask(before_); }
  NoUmask(const NoUmask&) = delete;
  NoUmask& operator=(const NoUmask&) = delete;

 private:
  mode_t before_;
};

class Bench {
 public:
  explicit Bench(bool read_only = false, std::uint64_t descriptors = 1024, bool start = true);

  Got send(std::string_view message);
  Got send(const Message& message) { return send(message.bytes()); }
  void init();
  void attach(std::uint32_t index, const std::filesystem::path& directory, bool read_only);

  // Each returns what the server said; `node` and `fh` of it by the accessors.
  Got lookup(std::uint64_t parent, const std::string& name) { return send(Message(FUSE_LOOKUP, parent).text(name)); }
  std::uint64_t node(std::uint64_t parent, const std::string& name);
  Got open(std::uint64_t node, std::uint32_t flags) {
    return send(Message(FUSE_OPEN, node).put(fuse_open_in{flags, 0}));
  }
  Got create(std::uint64_t parent, const std::string& name, std::uint32_t flags, std::uint32_t mode = 0644);
  Got read(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, std::uint32_t size);
  Got write(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, const std::string& data,
            std::uint32_t flags = 0);
  Got setattr(std::uint64_t node, fuse_setattr_in in) { return send(Message(FUSE_SETATTR, node).put(in)); }
  Got rename(std::uint64_t from, const std::string& name, std::uint64_t to, const std::string& as,
             std::uint32_t flags = 0);
  void forget(std::uint64_t node, std::uint64_t count) { send(Message(FUSE_FORGET, node).put(fuse_forget_in{count})); }
  // All names with their node numbers (0 for plain READDIR), by answers of at most `size` bytes.
  std::map<std::string, std::uint64_t> list(std::uint64_t node, bool plus, std::uint32_t size = 4096);

  TemporaryTree tree;
  MountTable mounts;
  Server server;
  std::uint64_t root = 0;  // of mount 0, which is `tree`

 private:
  std::vector<std::byte> space_;
};

// One request of each opcode that a read-only mount must refuse, in order but for that.
std::vector<Message> mutations(std::uint64_t directory, std::uint64_t file);

}  // namespace sandforge::fsd::test
