// SPDX-License-Identifier: Apache-2.0
// Plays the input as a script of what a driver may do to a device behind its transport: registers, configuration,
// descriptors, ring indices, bytes anywhere in memory, kicks, resets. Whatever it does: no access outside guest memory
// (guard pages, sanitizers), and every kick ends.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "vmm/devices/fake_driver.hpp"

namespace sandforge::vmm::test {

class ScriptReader {
 public:
  ScriptReader(const std::uint8_t* data, std::size_t size) : data_(data), left_(size) {}
  bool done() const { return left_ == 0; }
  template <typename T>
  T take() {
    T value{};
    const std::size_t count = std::min(sizeof value, left_);
    if (count > 0) std::memcpy(&value, data_, count);
    data_ += count;
    left_ -= count;
    return value;
  }
  std::uint32_t below(std::uint32_t end) { return take<std::uint8_t>() % end; }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

inline void must(bool condition) {
  if (!condition) std::abort();
}

// One device behind its transport, and one hostile step after the other.
class ScriptedDevice {
 public:
  static constexpr std::uint32_t kSteps = 8;

  explicit ScriptedDevice(std::unique_ptr<Device> device)
      : queues(static_cast<std::uint32_t>(device->queue_count())),
        driver(queues),
        transport(
            driver.memory(), std::move(device), [] {}, [this](std::uint32_t queue) { again_.push_back(queue); }) {}
  ScriptedDevice(const ScriptedDevice&) = delete;

  void kick(std::uint32_t queue) {
    transport.kick(queue);
    run_again();
  }
  // What the device asked for, without a kick of the driver.
  void run_again() {
    constexpr int kAgainMax = 64;
    for (int turn = 0; turn < kAgainMax && !again_.empty(); ++turn) {
      const std::vector<std::uint32_t> now = std::exchange(again_, {});
      for (const std::uint32_t one : now) transport.kick(one);
    }
    again_.clear();
  }

  // `what` below kSteps.
  void step(std::uint32_t what, ScriptReader& in) {
    switch (what) {
      case 0: kick(in.below(queues + 1)); break;
      case 1: {
        const std::uint32_t offset = in.take<std::uint8_t>() * 4u;
        FakeDriver::write_register(transport, offset, in.take<std::uint32_t>());
        (void)FakeDriver::read_register(transport, offset);
        break;
      }
      case 2: {
        const std::uint64_t address = in.take<std::uint32_t>();
        driver.put(GuestAddress{address % (queues * 0x10000)}, in.take<std::uint64_t>());
        break;
      }
      case 3: access_config(in); break;
      case 4: (void)driver.start(transport, in.take<std::uint64_t>()); break;
      case 5: describe(in); break;
      case 6: {
        const std::uint32_t queue = in.below(queues);
        driver.publish(queue, in.take<std::uint8_t>());
        kick(queue);
        break;
      }
      default: driver.set_available(in.below(queues), in.take<std::uint16_t>()); break;
    }
  }
  // Whatever was done, it comes back.
  void come_back() {
    FakeDriver::write_register(transport, reg::kStatus, 0);
    must(driver.start(transport));
  }

  const std::uint32_t queues;
  FakeDriver driver;
  MmioTransport transport;

 private:
  void access_config(ScriptReader& in) {
    std::array<std::byte, 8> bytes{};
    const std::uint64_t offset = reg::kConfig + in.take<std::uint16_t>() % 0x1000;
    const std::size_t width = 1u << in.below(4);
    const auto value = in.take<std::uint64_t>();
    std::memcpy(bytes.data(), &value, sizeof value);
    transport.write(offset, std::span(bytes).first(width));
    transport.read(offset, std::span(bytes).first(width));
  }
  void describe(ScriptReader& in) {
    const std::uint32_t queue = in.below(queues);
    const std::uint32_t index = in.below(FakeDriver::kSize);
    RawDescriptor raw;
    raw.address = in.take<std::uint64_t>();
    raw.length = in.take<std::uint32_t>();
    raw.flags = in.take<std::uint16_t>();
    raw.next = in.take<std::uint8_t>();
    driver.describe_raw(queue, index, raw);
  }

  std::vector<std::uint32_t> again_;
};

inline void play_script(std::unique_ptr<Device> device, const std::uint8_t* data, std::size_t size) {
  ScriptedDevice scripted(std::move(device));
  ScriptReader in(data, size);
  while (!in.done()) scripted.step(in.below(ScriptedDevice::kSteps), in);
  scripted.come_back();
}

}  // namespace sandforge::vmm::test
