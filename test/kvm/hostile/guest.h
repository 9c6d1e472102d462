// SPDX-License-Identifier: Apache-2.0
// What hostile guests share: ports, registers, a serial line to report on, a second vCPU, and a virtio driver that
// knows the rules well enough to break them. Freestanding, 32 bits, no paging.
#pragma once

#include <stdint.h>

#define SERIAL 0x3f8
#define POWER 0x600
#define DEVICES 0xd0000000u  // one page each: root, disk, vsock, rng, balloon
#define DISK (DEVICES + 0x1000u)
#define RNG (DEVICES + 0x3000u)
#define LOCAL_APIC 0xfee00000u
#define IO_APIC 0xfec00000u

extern volatile uint32_t fault_count, fault_resume, interrupt_count;
extern char trampoline[], trampoline_end[];
void guest_main(void);
void ap_main(void);  // of the second vCPU

static inline void out8(uint16_t port, uint8_t value) { __asm__ volatile("outb %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out16(uint16_t port, uint16_t value) { __asm__ volatile("outw %0, %1" : : "a"(value), "Nd"(port)); }
static inline void out32(uint16_t port, uint32_t value) { __asm__ volatile("outl %0, %1" : : "a"(value), "Nd"(port)); }
static inline uint8_t in8(uint16_t port) {
  uint8_t value;
  __asm__ volatile("inb %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline uint32_t in32(uint16_t port) {
  uint32_t value;
  __asm__ volatile("inl %1, %0" : "=a"(value) : "Nd"(port));
  return value;
}
static inline void out_string(uint16_t port, const void* from, uint32_t count) {
  __asm__ volatile("rep outsb" : "+S"(from), "+c"(count) : "d"(port) : "memory");
}
static inline void in_string(uint16_t port, void* to, uint32_t count) {
  __asm__ volatile("rep insb" : "+D"(to), "+c"(count) : "d"(port) : "memory");
}
static inline volatile uint8_t* at8(uint32_t address) { return (volatile uint8_t*)address; }
static inline volatile uint16_t* at16(uint32_t address) { return (volatile uint16_t*)address; }
static inline volatile uint32_t* at32(uint32_t address) { return (volatile uint32_t*)address; }

static uint32_t random_state = 0x12345678;
static inline uint32_t next_random(void) {
  random_state ^= random_state << 13, random_state ^= random_state >> 17, random_state ^= random_state << 5;
  return random_state;
}

static inline void say(const char* text) {
  uint32_t length = 0;
  while (text[length] != '\0') ++length;
  out_string(SERIAL, text, length);
}
static inline void say_number(uint32_t value) {
  char digits[9];
  for (int i = 0; i < 8; ++i) digits[i] = "0123456789abcdef"[value >> (28 - 4 * i) & 15];
  digits[8] = '\n';
  out_string(SERIAL, digits, 9);
}
// The driver looks at the monitor at these two points; after the second the guest only waits to be stopped.
static inline void begin(void) { say("report: begin\n"); }
static inline void finish(void) {
  say("report: end\n");
  for (;;) __asm__ volatile("pause");
}

// INIT and SIPI as the architecture wants them (no delays: nobody here needs them).
static inline void interrupt_command(uint32_t low, uint32_t target) {
  *at32(LOCAL_APIC + 0x310) = target << 24;
  *at32(LOCAL_APIC + 0x300) = low;
}
static inline void start_other(void) {
  for (int i = 0; i < trampoline_end - trampoline; ++i) *at8(0x8000u + (uint32_t)i) = (uint8_t)trampoline[i];
  *at32(LOCAL_APIC + 0xf0) = 0x1ff;  // the APIC is on
  interrupt_command(0x4500, 1);
  interrupt_command(0x4608, 1);
}

// One queue of up to 64 entries at a fixed place.
struct descriptor {
  uint32_t address, address_high, length;
  uint16_t flags, next;
};
#define QUEUE_SIZE 64
#define RING 0x400000u
#define DESCRIPTORS ((volatile struct descriptor*)RING)
#define AVAILABLE at16(RING + 0x1000)  // flags, index, ring
#define USED at16(RING + 0x2000)
#define BUFFERS 0x500000u

static inline void virtio_start(uint32_t window, uint32_t queues) {
  *at32(window + 0x70) = 0;
  *at32(window + 0x70) = 1;
  *at32(window + 0x70) = 3;
  *at32(window + 0x24) = 1;
  *at32(window + 0x20) = 1;  // VERSION_1
  *at32(window + 0x70) = 11;
  for (uint32_t queue = 0; queue < queues; ++queue) {
    *at32(window + 0x30) = queue;
    *at32(window + 0x38) = QUEUE_SIZE;
    *at32(window + 0x80) = RING;
    *at32(window + 0x90) = RING + 0x1000;
    *at32(window + 0xa0) = RING + 0x2000;
    *at32(window + 0x44) = 1;
  }
  AVAILABLE[0] = AVAILABLE[1] = USED[0] = USED[1] = 0;
  *at32(window + 0x70) = 15;
}
static inline void set_descriptor(uint32_t i, uint32_t address, uint32_t length, uint16_t flags, uint16_t next) {
  DESCRIPTORS[i].address = address, DESCRIPTORS[i].address_high = 0, DESCRIPTORS[i].length = length;
  DESCRIPTORS[i].flags = flags, DESCRIPTORS[i].next = next;
}
// A chain of three for blk: header, 4 KiB of data, status. `slot` is one of 21.
static inline void block_request(uint32_t slot, uint32_t type, uint32_t sector) {
  const uint32_t header = BUFFERS + slot * 0x2000u, first = slot * 3;
  *at32(header) = type, *at32(header + 4) = 0, *at32(header + 8) = sector, *at32(header + 12) = 0;
  set_descriptor(first, header, 16, 1, (uint16_t)(first + 1));
  set_descriptor(first + 1, header + 0x1000, 4096, (uint16_t)(type == 0 ? 3 : 1), (uint16_t)(first + 2));
  set_descriptor(first + 2, header + 0x800, 1, 2, 0);
  AVAILABLE[2 + AVAILABLE[1] % QUEUE_SIZE] = (uint16_t)first;
  __asm__ volatile("" : : : "memory");
  AVAILABLE[1] = (uint16_t)(AVAILABLE[1] + 1);
}
static inline void notify(uint32_t window, uint32_t queue) { *at32(window + 0x50) = queue; }
