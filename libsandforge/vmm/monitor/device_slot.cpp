// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/device_slot.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>

#include "base/event_fd.hpp"

namespace sandforge::vmm {

base::Result<std::unique_ptr<DeviceSlot>> DeviceSlot::create(const GuestMemory& memory, std::unique_ptr<Device> device,
                                                             Loop& loop, std::function<void()> before_interrupt) {
  std::unique_ptr<DeviceSlot> slot(new DeviceSlot(loop));
  SANDFORGE_TRY(slot->interrupt_, base::make_event());
  const std::size_t queues = device->queue_count();
  const int interrupt = slot->interrupt_.get();
  slot->transport_ = std::make_unique<MmioTransport>(
      memory, std::move(device),
      [interrupt, before = std::move(before_interrupt)] {
        before();
        (void)!::eventfd_write(interrupt, 1);
      },
      [kicks = &slot->kicks_](std::uint32_t queue) { (void)!::eventfd_write((*kicks)[queue].get(), 1); });
  for (std::uint32_t queue = 0; queue < queues; ++queue) {
    SANDFORGE_TRY(base::UniqueFd kick, base::make_event());
    const int fd = kick.get();
    MmioTransport* transport = slot->transport_.get();
    // Edge-triggered: each count wakes the loop by itself, and nobody has to read it. One that comes while the queue is
    // looked at is told in the next round.
    SANDFORGE_TRY_STATUS(
        loop.add(fd, EPOLLIN | EPOLLET, [queue, transport](std::uint32_t) { transport->kick(queue); }));
    slot->kicks_.push_back(std::move(kick));
  }
  return slot;
}

DeviceSlot::~DeviceSlot() {
  for (const base::UniqueFd& kick : kicks_) loop_.remove(kick.get());
}

base::Status DeviceSlot::attach(Vm& vm, GuestAddress window, std::uint32_t line, std::span<std::byte> page) {
  transport_->show_in(page);
  SANDFORGE_TRY_STATUS(vm.attach_interrupt(interrupt_.get(), line));
  for (const MmioRange& range : kMmioWriteOnly) {
    SANDFORGE_TRY_STATUS(vm.delay_writes(window + range.offset, range.bytes));
  }
  SANDFORGE_TRY(acknowledged_, base::make_event());
  SANDFORGE_TRY_STATUS(vm.attach_kick(acknowledged_.get(), window + kMmioInterruptAck, kMmioUsedBuffers));
  for (std::uint32_t queue = 0; queue < kicks_.size(); ++queue) {
    SANDFORGE_TRY_STATUS(vm.attach_kick(kicks_[queue].get(), window + kMmioQueueNotify, queue));
  }
  return {};
}

}  // namespace sandforge::vmm
