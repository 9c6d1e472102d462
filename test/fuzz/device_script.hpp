// SPDX-License-Identifier: Apache-2.0
// Plays the input as a script of what a driver may do to a device behind its transport: registers, configuration,
// descriptors, ring indices, bytes anywhere in memory, kicks, resets. Whatever it does: no access outside guest memory
// (guard pages, sanitizers), and every kick ends.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
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
    std::memcpy(&value, data_, count);
    data_ += count;
    left_ -= count;
    return value;
  }

 private:
  const std::uint8_t* data_;
  std::size_t left_;
};

inline void play_script(std::unique_ptr<Device> device, const std::uint8_t* data, std::size_t size) {
  constexpr int kAgainMax = 64;  // turns that a device may ask for without a kick of the driver
  const auto queues = static_cast<std::uint32_t>(device->queue_count());
  FakeDriver driver(queues);
  std::vector<std::uint32_t> again;
  MmioTransport transport(
      driver.memory(), std::move(device), [] {}, [&again](std::uint32_t queue) { again.push_back(queue); });
  ScriptReader in(data, size);
  const auto kick = [&](std::uint32_t queue) {
    transport.kick(queue);
    for (int turn = 0; turn < kAgainMax && !again.empty(); ++turn) {
      const std::vector<std::uint32_t> now = std::exchange(again, {});
      for (const std::uint32_t one : now) transport.kick(one);
    }
    again.clear();
  };
  while (!in.done()) {
    switch (in.take<std::uint8_t>() % 8) {
      case 0: kick(in.take<std::uint8_t>() % (queues + 1)); break;
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
      case 3: {
        std::array<std::byte, 8> bytes{};
        const std::uint64_t offset = reg::kConfig + in.take<std::uint16_t>() % 0x1000;
        const std::size_t width = 1u << (in.take<std::uint8_t>() % 4);
        const auto value = in.take<std::uint64_t>();
        std::memcpy(bytes.data(), &value, sizeof value);
        transport.write(offset, std::span(bytes).first(width));
        transport.read(offset, std::span(bytes).first(width));
        break;
      }
      case 4: (void)driver.start(transport, in.take<std::uint64_t>()); break;
      case 5: {
        const std::uint32_t queue = in.take<std::uint8_t>() % queues;
        const std::uint32_t index = in.take<std::uint8_t>() % FakeDriver::kSize;
        RawDescriptor raw;
        raw.address = in.take<std::uint64_t>();
        raw.length = in.take<std::uint32_t>();
        raw.flags = in.take<std::uint16_t>();
        raw.next = in.take<std::uint8_t>();
        driver.describe_raw(queue, index, raw);
        break;
      }
      case 6: {
        const std::uint32_t queue = in.take<std::uint8_t>() % queues;
        driver.publish(queue, in.take<std::uint8_t>());
        kick(queue);
        break;
      }
      default: driver.set_available(in.take<std::uint8_t>() % queues, in.take<std::uint16_t>()); break;
    }
  }
  FakeDriver::write_register(transport, reg::kStatus, 0);
  if (!driver.start(transport)) std::abort();  // it always comes back
}

}  // namespace sandforge::vmm::test
