// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/acpi.hpp"

#include <doctest/doctest.h>

#include <cstring>
#include <string>

#include "vmm/arch/x86_64/aml.hpp"
#include "vmm/arch/x86_64/layout.hpp"

using namespace sandforge;

namespace {

template <typename T>
T at(const std::string& bytes, std::size_t offset) {
  T value{};
  REQUIRE(offset + sizeof value <= bytes.size());
  std::memcpy(&value, bytes.data() + offset, sizeof value);
  return value;
}

unsigned sum(const std::string& bytes) {
  unsigned total = 0;
  for (const char byte : bytes) total += static_cast<unsigned char>(byte);
  return total % 256;
}

// The table at a guest address, whole.
std::string table(const std::string& tables, std::uint64_t address) {
  const std::size_t offset = address - vmm::kAcpiStart;
  const std::string found = tables.substr(offset, at<std::uint32_t>(tables, offset + 4));
  CHECK(sum(found) == 0);
  return found;
}

}  // namespace

TEST_CASE("every ACPI table is reached from the RSDP and adds up to 0") {
  const std::string tables = vmm::acpi_tables({32, {1, 2, 3, 4, 5, 6}, true});
  CHECK(tables.substr(0, 8) == "RSD PTR ");
  CHECK(sum(tables.substr(0, 20)) == 0);
  CHECK(sum(tables.substr(0, 36)) == 0);
  const std::string xsdt = table(tables, at<std::uint64_t>(tables, 24));
  CHECK(xsdt.substr(0, 4) == "XSDT");
  REQUIRE(xsdt.size() == 36 + 2 * 8);
  const std::string fadt = table(tables, at<std::uint64_t>(xsdt, 36));
  CHECK(fadt.substr(0, 4) == "FACP");
  CHECK(fadt.size() == 276);
  CHECK((at<std::uint32_t>(fadt, 112) & (1u << 20)) != 0);  // hardware-reduced
  CHECK(at<std::uint64_t>(fadt, 244 + 4) == vmm::kPowerPort);
  CHECK(table(tables, at<std::uint64_t>(fadt, 140)).substr(0, 4) == "DSDT");
  const std::string madt = table(tables, at<std::uint64_t>(xsdt, 44));
  CHECK(madt.substr(0, 4) == "APIC");
  CHECK(madt.size() == 44 + 32 * 8 + 12);
}

TEST_CASE("the device table names each virtio window and its interrupt") {
  const std::string tables = vmm::acpi_tables({1, {1, 2, 4, 4}, false});
  for (std::uint32_t i = 0; i < 4; ++i) {
    const auto window = static_cast<std::uint32_t>(vmm::kDeviceWindows + i * 0x1000);
    const std::string memory = vmm::aml::memory32(window, 0x1000);
    const bool shared = i >= 2;
    const std::string line = vmm::aml::interrupt(vmm::kFirstInterrupt + (shared ? 4 : i + 1), shared);
    CHECK(tables.find(memory + line) != std::string::npos);
  }
  CHECK(tables.find("COM1") == std::string::npos);
}

TEST_CASE("the device of the generation id is found by its compatible identifier and tells where the 16 bytes lie") {
  const std::string tables = vmm::acpi_tables({1, {}, false});
  using namespace vmm::aml;
  CHECK(tables.find(name("_CID", text("VM_Gen_Counter"))) != std::string::npos);
  CHECK(tables.find(name("ADDR", package({integer(vmm::kGenerationId), integer(0)}))) != std::string::npos);
  // Alone in a page that the memory map gives to nobody.
  CHECK(vmm::kGenerationId % 8 == 0);
  CHECK(vmm::kGenerationId / 0x1000 * 0x1000 >= vmm::kLowRamEnd);
  CHECK(vmm::kGenerationId / 0x1000 * 0x1000 + 0x1000 <= vmm::kAcpiStart);
}

TEST_CASE("AML lengths grow by a byte where the specification says so") {
  using vmm::aml::scope;
  const std::string small = scope("\\_SB", std::string(57, 'x'));  // 1 length + 5 name + 57 = 63
  CHECK(static_cast<unsigned char>(small[1]) == 63);
  const std::string medium = scope("\\_SB", std::string(58, 'x'));  // 2 + 5 + 58 = 65
  CHECK(static_cast<unsigned char>(medium[1]) == (0x40 | (65 & 15)));
  CHECK(static_cast<unsigned char>(medium[2]) == 65 >> 4);
  const std::string large = scope("\\_SB", std::string(5000, 'x'));  // 3 + 5 + 5000
  CHECK(static_cast<unsigned>(static_cast<unsigned char>(large[1])) == 0x80u + 5008 % 16);
  CHECK(static_cast<unsigned char>(large[2]) == ((5008 >> 4) & 255));
  CHECK(static_cast<unsigned char>(large[3]) == 5008 >> 12);
}

TEST_CASE("AML integers take the shortest form") {
  CHECK(vmm::aml::integer(0).size() == 1);
  CHECK(vmm::aml::integer(1).size() == 1);
  CHECK(vmm::aml::integer(5) == std::string("\x0a\x05"));
  CHECK(vmm::aml::integer(0x1234).size() == 3);
  CHECK(vmm::aml::integer(0x12345).size() == 5);
}
