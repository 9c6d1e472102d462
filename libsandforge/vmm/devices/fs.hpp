// SPDX-License-Identifier: Apache-2.0
// virtio-fs (virtio 1.2, section 5.11): FUSE requests of the guest, carried to the sandbox's file server and back. The
// device looks at the envelope only (length, number, and whether an answer follows); what a request asks is the
// server's to check.
//
//   queues    0: high priority (forgets)   1: requests      type 26
//   config    tag, num_request_queues
//
//   guest: request --> sent to the server under a number of ours --> answer --> used
//                                       server gone, or it broke the protocol --> EIO, and EIO to all that follows
//
// Bytes go between the socket and guest memory by one copy of the kernel's.
#pragma once

#include <array>
#include <map>
#include <optional>
#include <string>

#include "base/unique_fd.hpp"
#include "vmm/devices/watcher.hpp"
#include "vmm/virtio/device.hpp"

namespace sandforge::vmm {

struct FsOptions {
  // Stream socket to the file server: FUSE messages one after the other, each as long as its first four bytes say.
  base::UniqueFd server;
  std::string tag;  // what the guest mounts, at most 36 bytes
};

class Fs final : public Device {
 public:
  // `watcher` outlives the device.
  Fs(FsOptions options, Watcher& watcher) : options_(std::move(options)), watcher_(watcher) {}
  ~Fs() override { Fs::reset(); }

  DeviceType type() const override { return DeviceType::Fs; }
  std::uint64_t features() const override { return 0; }
  std::size_t queue_count() const override { return 2; }
  std::uint16_t queue_size_max(std::size_t) const override { return kQueueSizeMax; }
  void read_config(std::uint32_t offset, std::span<std::byte> out) const override;
  void write_config(std::uint32_t, std::span<const std::byte>) override {}
  base::Status activate(Activation activation) override;
  base::Status kick(std::size_t queue) override;
  void reset() override;

 private:
  static constexpr std::size_t kRequestHead = 40, kAnswerHead = 16;  // fuse_in_header, fuse_out_header

  struct Request {
    Chain chain;
    std::size_t queue = 0;
    std::uint64_t unique = 0;  // the guest's own number
    bool answered = true;      // false: the server says nothing to it
  };
  // On its way to the server.
  struct Outgoing {
    Request request;
    std::uint64_t number = 0;
    std::array<std::byte, kRequestHead> head{};  // with our number in it
    std::uint64_t bytes = 0, sent = 0;
  };
  // On its way from the server.
  struct Incoming {
    std::array<std::byte, kAnswerHead> head{};
    std::size_t head_bytes = 0;             // how much of it has come
    std::uint64_t bytes = 0, received = 0;  // of what follows the head
    std::optional<Request> request;         // nothing: of a time before a reset; its bytes are dropped
  };

  base::Status take(std::size_t queue);
  base::Status take_all();
  base::Status begin(Chain chain, std::size_t queue);
  base::Status sent();
  base::Status send();
  base::Status receive();
  base::Result<std::uint64_t> receive_into(std::vector<iovec> parts);
  base::Result<bool> receive_head();
  base::Result<bool> receive_body();
  base::Status finish(const Request& request, std::uint32_t written);
  base::Status refuse(const Request& request);
  base::Status lose_server();
  void on_server(std::uint32_t events);
  base::Status settle();
  void watch();

  FsOptions options_;
  Watcher& watcher_;
  std::optional<Activation> active_;
  std::map<std::uint64_t, Request> waiting_;  // for an answer, by our number
  std::optional<Outgoing> outgoing_;
  Incoming incoming_;
  std::uint64_t next_number_ = 2;  // even: the lowest bit marks an interruption in FUSE
  std::uint64_t padding_ = 0;      // bytes that the server still expects of a request that a reset cut off
  std::uint32_t watched_ = 0;      // events that the watcher has for the server
};

}  // namespace sandforge::vmm
