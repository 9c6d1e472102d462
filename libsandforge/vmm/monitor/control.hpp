// SPDX-License-Identifier: Apache-2.0
// The control protocol: what the owner of a monitor may ask of it while the guest runs. Shared by the monitor and its
// backend.
//
//   owner -> monitor   first packet on descriptor 3: one Config (monitor/config.hpp). Answered by kind Configure, id 0,
//                      when the guest is about to run; a monitor that cannot use it says why instead
//                      (monitor/refusal.hpp) and ends (monitor/ending.hpp)
//   owner -> monitor   Request, any number
//   monitor -> owner   Answer, exactly one a request, of the same kind and id. Pause is answered when every vCPU stands
//                      and no device works any more; all others at once
//   monitor -> owner   Answer of kind Ended, id 0: the last word; `value` is the Ending
//
// Sockets are SOCK_SEQPACKET; a packet is a message; all integers little-endian, no padding. Two connections at most:
// descriptor 3, and one that was accepted from the control listener (a newer one replaces the older). A packet that is
// no Request ends its connection. The monitor never waits: an owner that does not read its answers is hung up.
//
// Without a control listener nobody could ever come back, so the hang-up of descriptor 3 ends the monitor; with one,
// the monitor lives on and waits for its next owner.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

#include "base/unique_fd.hpp"
#include "vmm/devices/watcher.hpp"
#include "vmm/monitor/ending.hpp"
#include "wire/codec.hpp"

namespace sandforge::vmm {

// Permanent numbers.
enum class ControlKind : std::uint16_t {
  Configure = 0,
  Status = 1,
  Pause = 2,
  Resume = 3,
  BalloonTarget = 4,  // value: bytes that the guest shall give up
  Stop = 5,           // ends the monitor, and with it the guest, at once
  Ended = 6,
};

enum class ControlResult : std::uint16_t {
  Ok = 0,
  Unknown = 1,     // no such request
  BadValue = 2,    // out of range
  WrongState = 3,  // Pause while a pause is under way
};

struct ControlRequest {
  static constexpr const char* kName = "control request";
  std::uint16_t kind = 0;
  std::uint32_t id = 0;
  std::uint64_t value = 0;

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.kind);
    archive(self.id);
    archive(self.value);
  }
};
inline constexpr std::size_t kControlRequestBytes = 14;

enum class RunState : std::uint8_t { Running = 0, Pausing = 1, Paused = 2 };

// Every answer tells the state of the machine.
struct ControlAnswer {
  static constexpr const char* kName = "control answer";
  std::uint16_t kind = 0;
  std::uint32_t id = 0;
  std::uint16_t result = 0;
  std::uint64_t value = 0;
  RunState state = RunState::Running;
  std::uint64_t exits = 0;           // of all vCPUs to the monitor, since the start
  std::uint64_t started_ns = 0;      // CLOCK_BOOTTIME of the host when the guest was started
  std::uint64_t balloon_bytes = 0;   // what the guest says it gave up
  std::uint64_t released_bytes = 0;  // of guest memory, given back to the host since the start

  template <typename Archive, typename Self>
  static void fields(Archive& archive, Self& self) {
    archive(self.kind);
    archive(self.id);
    archive(self.result);
    archive(self.value);
    archive.choice(self.state, RunState::Paused);
    archive(self.exits);
    archive(self.started_ns);
    archive(self.balloon_bytes);
    archive(self.released_bytes);
  }
};

// What the machine does for its owner. Loop thread; none of it waits.
class ControlActions {
 public:
  virtual ~ControlActions() = default;
  // The state and the counters of an answer.
  virtual void describe(ControlAnswer& answer) = 0;
  // True: done already; otherwise Control::paused() is called when it is. Never called while a pause is under way.
  virtual bool pause() = 0;
  virtual void resume() = 0;
  // False: more than the guest has.
  virtual bool set_balloon(std::uint64_t bytes) = 0;
  virtual void stop() = 0;
};

// The monitor's end. Loop thread only.
class Control {
 public:
  // Descriptor 3, and the listener where there is one (both become non-blocking by use). `actions` outlives it.
  Control(base::UniqueFd owner, base::UniqueFd listener, ControlActions& actions)
      : owner_(std::move(owner)), listener_(std::move(listener)), actions_(actions) {}

  // Whose events it hears from now on; nobody's with null. `watcher` outlives that.
  base::Status watch(Watcher* watcher);
  // The configuration was good.
  void configured();
  // The pause that was asked for is complete.
  void paused();
  // The last word, on all connections.
  void ended(Ending ending);

 private:
  struct Waiting {
    int fd;
    std::uint32_t id;
  };

  void on_listener();
  void on_connection(base::UniqueFd& connection);
  void hang_up(base::UniqueFd& connection);
  // Answers a request. False: the connection is broken.
  bool serve(int fd, std::string_view packet);
  bool reply(int fd, ControlKind kind, std::uint32_t id, ControlResult result, std::uint64_t value = 0);
  base::Status watch_connection(base::UniqueFd& connection);
  base::Status listen();

  base::UniqueFd owner_, listener_, successor_;
  ControlActions& actions_;
  Watcher* watcher_ = nullptr;
  bool listening_ = false;  // the watcher has listener_
  bool under_way_ = false;  // a pause, whether its asker is still there or not
  std::optional<Waiting> pausing_;
};

}  // namespace sandforge::vmm
