// SPDX-License-Identifier: Apache-2.0
// SPEC: ACPI 6.4, section 5.2.
#include "vmm/arch/x86_64/acpi.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "vmm/arch/x86_64/aml.hpp"
#include "vmm/arch/x86_64/layout.hpp"
#include "vmm/memory/guest_ram.hpp"

namespace sandforge::vmm {
namespace {

struct [[gnu::packed]] Rsdp {  // 5.2.5.3
  std::array<char, 8> signature{'R', 'S', 'D', ' ', 'P', 'T', 'R', ' '};
  std::uint8_t checksum = 0;
  std::array<char, 6> oem{'S', 'N', 'D', 'F', 'R', 'G'};
  std::uint8_t revision = 2;
  std::uint32_t rsdt = 0;
  std::uint32_t length = 36;
  std::uint64_t xsdt = 0;
  std::uint8_t extended_checksum = 0;
  std::array<std::uint8_t, 3> reserved{};
};
static_assert(sizeof(Rsdp) == 36);

struct [[gnu::packed]] Header {  // 5.2.6
  std::array<char, 4> signature{};
  std::uint32_t length = 0;
  std::uint8_t revision = 0;
  std::uint8_t checksum = 0;
  std::array<char, 6> oem{'S', 'N', 'D', 'F', 'R', 'G'};
  std::array<char, 8> table{'S', 'A', 'N', 'D', 'F', 'R', 'G', 'E'};
  std::uint32_t oem_revision = 1;
  std::array<char, 4> creator{'S', 'D', 'F', 'G'};
  std::uint32_t creator_revision = 1;
};
static_assert(sizeof(Header) == 36);

struct [[gnu::packed]] Register {  // 5.2.3.2, generic address structure
  std::uint8_t space = 1;          // system I/O
  std::uint8_t bit_width = 8, bit_offset = 0;
  std::uint8_t access = 1;  // byte
  std::uint64_t address = 0;
};
static_assert(sizeof(Register) == 12);

struct [[gnu::packed]] FixedDescription {  // 5.2.9, without the header
  std::array<std::uint8_t, 73> unused_before{};
  std::uint16_t boot_architecture = 0;
  std::uint8_t reserved = 0;
  std::uint32_t flags = 0;
  Register reset;
  std::uint8_t reset_value = 0;
  std::uint16_t arm_boot = 0;
  std::uint8_t minor_version = 4;
  std::uint64_t firmware_control = 0;
  std::uint64_t dsdt = 0;
  std::array<std::uint8_t, 96> unused_blocks{};
  Register sleep_control, sleep_status;
  std::array<char, 8> hypervisor{};
};
static_assert(sizeof(Header) + sizeof(FixedDescription) == 276);

struct [[gnu::packed]] LocalApicEntry {  // 5.2.12.2
  std::uint8_t type = 0, length = 8;
  std::uint8_t processor = 0, identifier = 0;
  std::uint32_t flags = 1;  // enabled
};
struct [[gnu::packed]] IoApicEntry {  // 5.2.12.3
  std::uint8_t type = 1, length = 12;
  std::uint8_t identifier = 0, reserved = 0;
  std::uint32_t address = static_cast<std::uint32_t>(kIoApic);
  std::uint32_t first_interrupt = kFirstInterrupt;
};

template <typename T>
std::string bytes_of(const T& value) {
  return {reinterpret_cast<const char*>(&value), sizeof value};
}

// What makes the bytes of a table add up to 0.
std::uint8_t checksum(std::string_view bytes) {
  std::uint8_t sum = 0;
  for (const char byte : bytes) sum = static_cast<std::uint8_t>(sum + static_cast<std::uint8_t>(byte));
  return static_cast<std::uint8_t>(0 - sum);
}

std::string table(std::string_view signature, std::uint8_t revision, const std::string& body) {
  Header header;
  std::memcpy(header.signature.data(), signature.data(), header.signature.size());
  header.length = static_cast<std::uint32_t>(sizeof header + body.size());
  header.revision = revision;
  header.checksum = checksum(bytes_of(header) + body);
  return bytes_of(header) + body;
}

std::string device_name(const char* prefix, std::uint32_t index) {
  constexpr char kDigits[] = "0123456789ABCDEF";
  return std::string(prefix) + kDigits[(index >> 4) & 15] + kDigits[index & 15];
}

std::string device(std::string_view name, const char* hardware, std::uint32_t number, const std::string& resources) {
  return aml::device(name, aml::name("_HID", aml::text(hardware)) + aml::name("_UID", aml::integer(number)) +
                               aml::name("_CRS", resources));
}

// SPEC: "Virtual Machine Generation ID", Microsoft, 2012. The driver finds the device by its compatible identifier and
// the 16 bytes by ADDR, the two halves of an address. No notification: an id never changes while its guest lives.
std::string generation_id() {
  static_assert(kGenerationId % 8 == 0 && kGenerationId >= kLowRamEnd &&
                kGenerationId + kGenerationIdBytes <= kAcpiStart);
  const auto low = static_cast<std::uint32_t>(kGenerationId), high = static_cast<std::uint32_t>(kGenerationId >> 32);
  return aml::device("VGEN", aml::name("_HID", aml::text("SNDF0001")) + aml::name("_CID", aml::text("VM_Gen_Counter")) +
                                 aml::name("_DDN", aml::text("VM_Gen_Counter")) +
                                 aml::name("ADDR", aml::package({aml::integer(low), aml::integer(high)})));
}

// Names, values and resources only: nothing to execute.
std::string dsdt(const MachineDescription& machine) {
  std::string devices = generation_id();
  if (machine.serial) {
    const std::string resources =
        aml::resources({aml::ports(kSerialPort, kSerialPorts), aml::interrupt(kFirstInterrupt + kSerialLine)});
    devices += device("COM1", "PNP0501", 0, resources);
  }
  const std::vector<std::uint32_t>& lines = machine.device_lines;
  for (std::uint32_t i = 0; i < lines.size(); ++i) {
    const auto window = static_cast<std::uint32_t>(kDeviceWindows + i * kPage);
    const bool shared = std::count(lines.begin(), lines.end(), lines[i]) > 1;
    devices += device(device_name("VR", i), "LNRO0005", i,
                      aml::resources({aml::memory32(window, std::uint32_t{kPage}),
                                      aml::interrupt(kFirstInterrupt + lines[i], shared)}));
  }
  // 7.4.2: the values of SLP_TYP that mean "off".
  const std::string off = aml::name("\\_S5", aml::package({aml::integer(5), aml::integer(5)}));
  return table("DSDT", 2, aml::scope("\\_SB", devices) + off);
}

std::string fadt(std::uint64_t dsdt_address) {
  constexpr std::uint32_t kWbinvd = 1u << 0, kNoFixedPowerButton = 1u << 4, kNoFixedSleepButton = 1u << 5,
                          kResetRegister = 1u << 10, kHardwareReduced = 1u << 20;
  constexpr std::uint16_t kNoVga = 1u << 2, kNoClockChip = 1u << 5;
  FixedDescription fixed;
  fixed.boot_architecture = kNoVga | kNoClockChip;  // and, by their absence: no legacy devices, no 8042
  fixed.flags = kWbinvd | kNoFixedPowerButton | kNoFixedSleepButton | kResetRegister | kHardwareReduced;
  fixed.reset.address = kPowerPort + 2;
  fixed.reset_value = 1;
  fixed.dsdt = dsdt_address;
  fixed.sleep_control.address = kPowerPort;
  fixed.sleep_status.address = kPowerPort + 1;
  return table("FACP", 6, bytes_of(fixed));
}

std::string madt(std::uint32_t cpus) {
  constexpr std::uint32_t kNoLegacyController = 0;
  std::string body = bytes_of(static_cast<std::uint32_t>(kLocalApic)) + bytes_of(kNoLegacyController);
  for (std::uint32_t i = 0; i < cpus; ++i) {
    LocalApicEntry cpu;
    cpu.processor = cpu.identifier = static_cast<std::uint8_t>(i);
    body += bytes_of(cpu);
  }
  body += bytes_of(IoApicEntry{});
  return table("APIC", 5, body);
}

}  // namespace

std::string acpi_tables(const MachineDescription& machine) {
  std::string out(sizeof(Rsdp), '\0');
  const auto place = [&out](const std::string& bytes) {
    out.resize((out.size() + 15) / 16 * 16);
    const std::uint64_t address = kAcpiStart + out.size();
    out += bytes;
    return address;
  };
  const std::uint64_t dsdt_address = place(dsdt(machine));
  std::string list;
  for (const std::string& one : {fadt(dsdt_address), madt(machine.cpus)}) list += bytes_of(place(one));
  Rsdp rsdp;
  rsdp.xsdt = place(table("XSDT", 1, list));
  rsdp.checksum = checksum(bytes_of(rsdp).substr(0, 20));  // of the part that ACPI 1.0 knew
  rsdp.extended_checksum = checksum(bytes_of(rsdp));
  out.replace(0, sizeof rsdp, bytes_of(rsdp));
  return out;
}

}  // namespace sandforge::vmm
