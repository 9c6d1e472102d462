// SPDX-License-Identifier: Apache-2.0
// Fuzz target: the ring walker alone. Whatever the driver writes, a chain that is handed out lies in guest memory and
// is no longer than the queue, and nothing but the used ring is written.
#include <bit>

#include "device_script.hpp"

namespace {

using namespace sandforge::vmm;
using namespace sandforge::vmm::test;

void check_chain(const GuestMemory& memory, const QueueLayout& layout, const Chain& chain) {
  must(chain.head < layout.size);
  must(!chain.readable.empty() || !chain.writable.empty());
  must(chain.readable.size() + chain.writable.size() <= layout.size);
  must(chain.readable_bytes() + chain.writable_bytes() <= std::uint64_t{1} << 32);
  for (const auto* buffers : {&chain.readable, &chain.writable}) {
    for (const Buffer& buffer : *buffers) must(memory.contains(buffer.address, buffer.length));
  }
}

GuestAddress place(ScriptReader& in, std::uint64_t honest) {
  const std::uint32_t how = in.below(8);
  if (how < 5) return GuestAddress{honest};
  if (how == 5) return GuestAddress{honest + in.take<std::uint16_t>()};
  if (how == 6) return GuestAddress{GuardedMemory::kHighStart + in.take<std::uint16_t>()};
  return GuestAddress{in.take<std::uint64_t>()};
}

QueueLayout layout_of(ScriptReader& in) {
  QueueLayout layout;
  const std::uint32_t how = in.below(16);
  layout.size = how < 9    ? static_cast<std::uint16_t>(1u << how)
                : how < 15 ? std::uint16_t{16}
                           : in.take<std::uint16_t>();
  layout.descriptors = place(in, 0);
  layout.available = place(in, 0x1000);
  layout.used = place(in, 0x2000);
  layout.event_index = in.below(2) != 0;
  return layout;
}

void play(FakeDriver& driver, const QueueLayout& layout, Queue& queue, ScriptReader& in) {
  const GuestMemory& memory = driver.memory();
  std::uint16_t last = 0, used = 0;
  while (!in.done()) {
    switch (in.below(8)) {
      case 0: {
        const auto popped = queue.pop();
        if (!popped) return;  // the device is reset now
        if (popped.value()) {
          check_chain(memory, layout, *popped.value());
          last = popped.value()->head;
        }
        break;
      }
      case 1: {
        must(static_cast<bool>(queue.push(last, in.take<std::uint32_t>())));
        must(driver.get<std::uint16_t>(layout.used + 2) == ++used);
        break;
      }
      case 2: must(static_cast<bool>(queue.needs_interrupt())); break;
      case 3: must(static_cast<bool>(queue.want_kicks())); break;
      case 4: {  // a descriptor, mostly within memory
        RawDescriptor raw{in.take<std::uint32_t>() % GuardedMemory::kLowBytes, in.take<std::uint16_t>(), 0, 0};
        const std::uint32_t how = in.take<std::uint8_t>();
        raw.flags = static_cast<std::uint16_t>(how % 4 | (how == 255 ? kIndirect : 0));
        if (how % 16 == 15) raw.address = in.take<std::uint64_t>();
        raw.next = static_cast<std::uint16_t>(how % 32 == 31 ? in.take<std::uint16_t>() : in.below(256));
        driver.put(layout.descriptors + 16ull * in.below(256), raw);
        break;
      }
      case 5: {  // a head, in its place
        const auto index = driver.get<std::uint16_t>(layout.available + 2);
        driver.put(layout.available + (4 + 2ull * (index % layout.size)), static_cast<std::uint16_t>(in.below(256)));
        driver.put(layout.available + 2, static_cast<std::uint16_t>(index + 1));
        break;
      }
      case 6: driver.put(layout.available + in.below(64), in.take<std::uint16_t>()); break;
      default: driver.put(GuestAddress{in.take<std::uint16_t>()}, in.take<std::uint64_t>()); break;
    }
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  ScriptReader in(data, size);
  FakeDriver driver(1);
  const QueueLayout layout = layout_of(in);
  auto queue = Queue::open(driver.memory(), layout);
  if (!queue) return 0;
  must(std::has_single_bit(layout.size) && layout.size <= kQueueSizeMax);
  play(driver, layout, queue.value(), in);
  return 0;
}
