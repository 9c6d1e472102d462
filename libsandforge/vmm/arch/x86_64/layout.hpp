// SPDX-License-Identifier: Apache-2.0
// The guest-physical address space and the ports, all in one place.
//
//   0 ............. 0x9fc00   RAM; boot data in its first 64 KiB, which Linux never hands out
//   0x9fc00 ....... 0xe0000   RAM that the memory map calls reserved: the generation id in its last page
//   0xe0000 ....... 1 MiB     ACPI tables
//   1 MiB ......... 3 GiB     RAM: kernel where it says, initrd at the top
//   3 GiB ......... 4 GiB     no RAM: devices at 0xd0000000, I/O APIC, local APICs
//   4 GiB ...                 the rest of RAM
#pragma once

#include <cstdint>

namespace sandforge::vmm {

inline constexpr std::uint64_t kLowRamEnd = 0x9fc00;
// Boot data (see boot.cpp). The command line is Linux's COMMAND_LINE_SIZE, NUL included.
inline constexpr std::uint64_t kStartInfo = 0x6000, kModuleList = 0x6040, kMemoryMap = 0x6080, kCommandLine = 0x7000;
inline constexpr std::size_t kCommandLineMax = 2048;
inline constexpr std::uint64_t kAcpiStart = 0xe0000, kAcpiEnd = 0x100000;
// Alone in its page, and not where that page's first bytes could be taken for the signature of an option ROM.
inline constexpr std::uint64_t kGenerationId = 0xdf040;
inline constexpr std::size_t kGenerationIdBytes = 16;
inline constexpr std::uint64_t kKernelStartMin = 0x100000;

inline constexpr std::uint64_t kDeviceWindows = 0xd000'0000;  // one page per virtio device
inline constexpr std::uint64_t kIoApic = 0xfec0'0000, kLocalApic = 0xfee0'0000;
inline constexpr std::uint64_t kApicWindow = 0x1000;

inline constexpr std::uint16_t kSerialPort = 0x3f8, kSerialPorts = 8;
inline constexpr std::uint16_t kPowerPort = 0x600, kPowerPorts = 3;  // sleep control, sleep status, reset

// Pins of the I/O APIC: the serial port's, then those of the virtio devices, and no other: a guest's kernel looks at
// each of them some ten times at boot, an exit each. ACPI counts interrupts from kFirstInterrupt on: Linux keeps the
// numbers below 16 for the devices of old PCs, and gives some of them (0, 2) to nobody.
inline constexpr std::uint32_t kSerialLine = 0, kFirstDeviceLine = 1;
inline constexpr std::uint32_t kFirstInterrupt = 16;
inline constexpr std::uint32_t kDevicesMax = 15;

}  // namespace sandforge::vmm
