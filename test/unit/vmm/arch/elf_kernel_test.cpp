// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/elf_kernel.hpp"

#include <doctest/doctest.h>
#include <elf.h>

#include <cstring>
#include <string>

using namespace sandforge;

namespace {

// A small kernel: two segments and the PVH note.
struct SmallKernel {
  Elf64_Ehdr header{};
  Elf64_Phdr code{}, data{}, note{};
  Elf64_Nhdr note_header{4, 8, 18};
  char owner[4] = {'X', 'e', 'n', '\0'};
  std::uint64_t entry = 0x1000010;
  std::uint8_t bytes[64]{};

  SmallKernel() {
    std::memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_EXEC;
    header.e_machine = EM_X86_64;
    header.e_phoff = sizeof header;
    header.e_phentsize = sizeof(Elf64_Phdr);
    header.e_phnum = 3;
    code.p_type = PT_LOAD;
    code.p_offset = offset(bytes);
    code.p_paddr = 0x1000000;
    code.p_filesz = code.p_memsz = sizeof bytes;
    data.p_type = PT_LOAD;
    data.p_offset = offset(bytes);
    data.p_paddr = 0x2000000;
    data.p_filesz = 16;
    data.p_memsz = 4096;
    note.p_type = PT_NOTE;
    note.p_offset = offset(note_header);
    note.p_filesz = sizeof note_header + sizeof owner + sizeof entry;
  }
  template <typename T>
  std::uint64_t offset(const T& member) const {
    return static_cast<std::uint64_t>(reinterpret_cast<const char*>(&member) - reinterpret_cast<const char*>(this));
  }
  std::string file() const { return {reinterpret_cast<const char*>(this), sizeof *this}; }
};

base::Result<vmm::ElfKernel> parse(const std::string& file) {
  return vmm::parse_elf_kernel(std::as_bytes(std::span(file)));
}

std::string complaint(const SmallKernel& kernel) {
  const auto parsed = parse(kernel.file());
  REQUIRE_FALSE(parsed);
  CHECK(parsed.error().reason == "bad_kernel");
  CHECK_FALSE(parsed.error().remedy.empty());
  return parsed.error().message;
}

}  // namespace

TEST_CASE("a kernel's segments and PVH entry are found") {
  const auto kernel = parse(SmallKernel().file());
  REQUIRE(kernel);
  CHECK(kernel.value().entry == 0x1000010);
  REQUIRE(kernel.value().segments.size() == 2);
  CHECK(kernel.value().segments[1].memory_bytes == 4096);
  CHECK(kernel.value().end == 0x2001000);
}

TEST_CASE("a kernel cut off anywhere is an error, never a read beyond its end") {
  const std::string whole = SmallKernel().file();
  for (std::size_t length = 0; length < whole.size(); ++length) {
    const std::string part = whole.substr(0, length);  // a block of its own, so that a sanitizer sees its end
    CHECK_FALSE(parse(part));
  }
}

TEST_CASE("any single flipped bit gives a kernel within the file and above 1 MiB, or an error") {
  const std::string whole = SmallKernel().file();
  for (std::size_t bit = 0; bit < whole.size() * 8; ++bit) {
    std::string file = whole;
    file[bit / 8] = static_cast<char>(file[bit / 8] ^ (1 << (bit % 8)));
    const auto kernel = parse(file);
    if (!kernel) continue;
    for (const auto& segment : kernel.value().segments) {
      CHECK(segment.file_offset + segment.file_bytes <= file.size());
      CHECK(segment.memory_bytes >= segment.file_bytes);
      CHECK(segment.address.value >= 0x100000);
    }
  }
}

TEST_CASE("what is no loadable kernel is refused with its reason") {
  SmallKernel kernel;
  SUBCASE("another machine") {
    kernel.header.e_machine = EM_AARCH64;
    CHECK(complaint(kernel).find("no x86-64 executable") != std::string::npos);
  }
  SUBCASE("no ELF at all") {
    kernel.header.e_ident[0] = 0;
    CHECK(complaint(kernel).find("no ELF file") != std::string::npos);
  }
  SUBCASE("overlapping segments") {
    kernel.data.p_paddr = 0x1000020;
    CHECK(complaint(kernel).find("overlap") != std::string::npos);
  }
  SUBCASE("a segment below 1 MiB") {
    kernel.code.p_paddr = 0x7000;
    CHECK(complaint(kernel).find("below 1 MiB") != std::string::npos);
  }
  SUBCASE("a segment that wraps around") {
    kernel.data.p_paddr = UINT64_MAX - 10;
    CHECK(complaint(kernel).find("wraps") != std::string::npos);
  }
  SUBCASE("no PVH note") {
    kernel.note_header.n_type = 17;
    CHECK(complaint(kernel).find("no PVH entry") != std::string::npos);
  }
  SUBCASE("an entry outside every segment") {
    kernel.entry = 0x3000000;
    CHECK(complaint(kernel).find("outside") != std::string::npos);
  }
  SUBCASE("a note with a huge name") {
    kernel.note_header.n_namesz = 0xffffffff;
    CHECK(complaint(kernel).find("truncated") != std::string::npos);
  }
  SUBCASE("program headers at the end of the address space") {
    kernel.header.e_phoff = UINT64_MAX - 8;
    CHECK(complaint(kernel).find("truncated") != std::string::npos);
  }
}

TEST_CASE("code, and data of writable segments, are what a kernel writes to") {
  struct {
    SmallKernel kernel;
    Elf64_Shdr sections[4]{};
  } file;
  SmallKernel& kernel = file.kernel;
  kernel.data.p_flags = PF_R | PF_W;
  kernel.data.p_offset = kernel.offset(kernel.bytes) + 32;
  kernel.code.p_filesz = kernel.code.p_memsz = 32;
  kernel.header.e_shoff = sizeof kernel;
  kernel.header.e_shentsize = sizeof(Elf64_Shdr);
  kernel.header.e_shnum = 4;
  const std::uint64_t code = kernel.offset(kernel.bytes), data = code + 32;
  const auto section = [](std::uint64_t flags, std::uint64_t offset, std::uint64_t bytes) {
    Elf64_Shdr header{};
    header.sh_type = SHT_PROGBITS;
    header.sh_flags = SHF_ALLOC | flags;
    header.sh_offset = offset;
    header.sh_size = bytes;
    return header;
  };
  file.sections[0] = section(SHF_EXECINSTR, code, 8);
  file.sections[1] = section(SHF_WRITE, code + 8, 8);  // in a segment that is not writable
  file.sections[2] = section(SHF_WRITE, data, 16);
  file.sections[3] = section(SHF_WRITE, data + 8, 100);  // leaves its segment
  const auto parsed = parse({reinterpret_cast<const char*>(&file), sizeof file});
  REQUIRE(parsed);
  const auto& written = parsed.value().written;
  REQUIRE(written.size() == 2);
  CHECK(written[0].address.value == 0x1000000);
  CHECK(written[0].bytes == 8);
  CHECK(written[1].address.value == 0x2000000);
  CHECK(written[1].file_offset == data);
  CHECK(parse({reinterpret_cast<const char*>(&file), sizeof file.kernel}).value().written.empty());
}
