// SPDX-License-Identifier: Apache-2.0
// A virtio-vsock driver for hostile guests: three queues of their own rings, streams to the agent's port of the host.
#pragma once

#include "guest.h"

#define VSOCK (DEVICES + 0x2000u)
#define VSOCK_RING(queue) (RING + 0x10000u * (queue))
#define VSOCK_BUFFERS 0x800000u
#define VSOCK_PAYLOAD 0x4000u

static inline void vsock_start(void) {
  *at32(VSOCK + 0x70) = 0;
  *at32(VSOCK + 0x70) = 1;
  *at32(VSOCK + 0x70) = 3;
  *at32(VSOCK + 0x24) = 1;
  *at32(VSOCK + 0x20) = 1;  // VERSION_1
  *at32(VSOCK + 0x70) = 11;
  for (uint32_t queue = 0; queue < 3; ++queue) {
    *at32(VSOCK + 0x30) = queue;
    *at32(VSOCK + 0x38) = QUEUE_SIZE;
    *at32(VSOCK + 0x80) = VSOCK_RING(queue);
    *at32(VSOCK + 0x90) = VSOCK_RING(queue) + 0x1000;
    *at32(VSOCK + 0xa0) = VSOCK_RING(queue) + 0x2000;
    for (uint32_t ring = 0x1000; ring <= 0x2000; ring += 0x1000) *at32(VSOCK_RING(queue) + ring) = 0;
    *at32(VSOCK + 0x44) = 1;
  }
  *at32(VSOCK + 0x70) = 15;
}
static inline volatile uint16_t* vsock_used(uint32_t queue) { return at16(VSOCK_RING(queue) + 0x2000); }
// One buffer, in the queue's next slot: for the device to read (flags 0) or to write (2).
static inline void vsock_offer(uint32_t queue, uint32_t address, uint32_t length, uint16_t flags) {
  volatile uint16_t* available = at16(VSOCK_RING(queue) + 0x1000);
  const uint32_t slot = available[1] % QUEUE_SIZE;
  volatile struct descriptor* to = (volatile struct descriptor*)VSOCK_RING(queue) + slot;
  to->address = address, to->address_high = 0, to->length = length, to->flags = flags, to->next = 0;
  available[2 + slot] = (uint16_t)slot;
  __asm__ volatile("" : : : "memory");
  available[1] = (uint16_t)(available[1] + 1);
}
// A packet from `port` to the agent's: 1 request, 5 data, 6 credit.
static inline void vsock_send(uint32_t slot, uint32_t port, uint16_t operation, uint32_t length) {
  const uint32_t at = VSOCK_BUFFERS + slot * 0x8000u;
  *at32(at) = 3, *at32(at + 4) = 0, *at32(at + 8) = 2, *at32(at + 12) = 0;
  *at32(at + 16) = port, *at32(at + 20) = 1024, *at32(at + 24) = length;
  *at16(at + 28) = 1, *at16(at + 30) = operation, *at32(at + 32) = 0;
  *at32(at + 36) = 0x40000, *at32(at + 40) = 0;
  vsock_offer(1, at, 44 + length, 0);
}
// Starts the device, opens a stream, and leaves it with packets on their way in both directions.
static inline void vsock_work(uint32_t port) {
  vsock_start();
  for (uint32_t i = 0; i < 16; ++i) vsock_offer(0, VSOCK_BUFFERS + 0x100000u + i * 0x8000u, 44 + VSOCK_PAYLOAD, 2);
  notify(VSOCK, 0);
  vsock_send(0, port, 1, 0);
  notify(VSOCK, 1);
  for (uint32_t wait = 0; wait < 200 && vsock_used(0)[1] == 0; ++wait) (void)*at32(VSOCK + 0x70);
  for (uint32_t i = 1; i < 8; ++i) vsock_send(i, port, 5, VSOCK_PAYLOAD);
  notify(VSOCK, 1);
  for (uint32_t wait = next_random() % 16; wait > 0; --wait) (void)*at32(VSOCK + 0x70);
}
