// SPDX-License-Identifier: Apache-2.0
#include "vmm/monitor/hand_over.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "base/event_fd.hpp"

namespace sandforge::vmm {

base::Result<HandOver> HandOver::create() {
  SANDFORGE_TRY(base::UniqueFd wake, base::make_event());
  return HandOver(std::move(wake));
}

void HandOver::perform(Bus::Target target, bool write, std::span<std::byte> data) {
  Access access{target, write, data, {}};
  bool first = false;
  {
    const std::lock_guard lock(mutex_);
    first = waiting_.empty();
    waiting_.push_back(&access);
  }
  // The count of an event descriptor cannot overflow here: the loop is woken once for each batch.
  if (first) (void)!::eventfd_write(wake_.get(), 1);
  access.done.wait(0, std::memory_order_acquire);
}

void HandOver::serve(const std::function<void()>& first) {
  eventfd_t count = 0;
  (void)!::eventfd_read(wake_.get(), &count);
  std::vector<Access*> batch;
  {
    const std::lock_guard lock(mutex_);
    batch = std::exchange(waiting_, {});
  }
  if (first) first();
  for (Access* access : batch) {
    if (access->write) {
      access->target.registers->write(access->target.offset, access->data);
    } else {
      access->target.registers->read(access->target.offset, access->data);
    }
    // The access is its thread's again, and gone, once the store below is seen; notify only uses the address. In one
    // order with the library's count of waiters, which notify reads next: a thread that is about to wait sees the
    // store, or is seen.
    access->done.store(1);
    access->done.notify_one();
  }
}

}  // namespace sandforge::vmm
