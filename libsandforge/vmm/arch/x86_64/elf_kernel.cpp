// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/elf_kernel.hpp"

#include <elf.h>

#include <algorithm>
#include <cstring>
#include <string>
#include <string_view>

#include "base/limits.hpp"
#include "vmm/arch/x86_64/layout.hpp"

namespace sandforge::vmm {
namespace {

// SPEC: Xen public/elfnote.h: "Physical entry point into the kernel, 32-bit, paging off", the PVH entry.
constexpr std::uint32_t kNotePhysicalEntry = 18;
constexpr std::string_view kNoteOwner("Xen\0", 4);
constexpr std::size_t kHeadersMax = limits::kKernelHeadersMax, kSegmentsMax = limits::kKernelSegmentsMax,
                      kSectionsMax = limits::kKernelSectionsMax;
constexpr std::uint64_t kNotesMax = limits::kKernelNotesMax;

base::Error bad(const std::string& what) {
  return base::make_error(base::Code::InvalidArgument, "bad_kernel", "the guest kernel is unusable: " + what,
                          "build the image again, or give an uncompressed vmlinux with CONFIG_PVH");
}

// [offset, offset + bytes) of the file, or nothing when it is not all there.
std::span<const std::byte> slice(std::span<const std::byte> file, std::uint64_t offset, std::uint64_t bytes) {
  if (offset > file.size() || bytes > file.size() - offset) return {};
  return file.subspan(offset, bytes);
}

template <typename T>
bool read(std::span<const std::byte> file, std::uint64_t offset, T& out) {
  const auto from = slice(file, offset, sizeof out);
  if (from.size() != sizeof out) return false;
  std::memcpy(&out, from.data(), sizeof out);
  return true;
}

base::Status check_header(const Elf64_Ehdr& header) {
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return bad("it is no ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return bad("it is no little-endian 64-bit ELF file");
  }
  if (header.e_machine != EM_X86_64 || header.e_type != ET_EXEC) return bad("it is no x86-64 executable");
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return bad("its program headers have an unknown size");
  if (header.e_phnum == 0 || header.e_phnum > kHeadersMax) return bad("it has no program headers, or too many");
  return {};
}

base::Status add_segment(std::span<const std::byte> file, const Elf64_Phdr& header, ElfKernel& kernel) {
  if (header.p_memsz == 0) return {};
  if (kernel.segments.size() == kSegmentsMax) return bad("it has too many segments");
  if (header.p_filesz > header.p_memsz) return bad("a segment is larger in the file than in memory");
  if (slice(file, header.p_offset, header.p_filesz).size() != header.p_filesz) return bad("it is truncated");
  std::uint64_t end = 0;
  if (__builtin_add_overflow(header.p_paddr, header.p_memsz, &end)) return bad("a segment wraps around");
  if (header.p_paddr < kKernelStartMin) return bad("a segment lies below 1 MiB");
  // A segment of zeros alone may name any place in the file.
  const std::uint64_t offset = header.p_filesz > 0 ? header.p_offset : 0;
  kernel.segments.push_back({offset, header.p_filesz, GuestAddress{header.p_paddr}, header.p_memsz});
  kernel.end = std::max(kernel.end, end);
  return {};
}

// Notes: {name size, description size, type}, name, description; both padded to 4 bytes. Finds the entry, if there.
base::Status find_entry(std::span<const std::byte> notes, std::uint32_t& entry) {
  if (notes.size() > kNotesMax) return bad("its notes are too large");
  std::uint64_t at = 0;
  Elf64_Nhdr note;
  while (read(notes, at, note)) {
    at += sizeof note;
    const auto name = slice(notes, at, note.n_namesz);
    at += (std::uint64_t{note.n_namesz} + 3) & ~std::uint64_t{3};
    const auto text = slice(notes, at, note.n_descsz);
    if (name.size() != note.n_namesz || text.size() != note.n_descsz) return bad("its notes are truncated");
    const bool ours = note.n_type == kNotePhysicalEntry && name.size() == kNoteOwner.size() &&
                      std::memcmp(name.data(), kNoteOwner.data(), name.size()) == 0;
    if (ours) {
      std::uint64_t value = 0;
      if (text.size() != 4 && text.size() != 8) return bad("its PVH note has an unknown size");
      std::memcpy(&value, text.data(), text.size());
      if (value == 0 || value > UINT32_MAX) return bad("its PVH entry is no 32-bit address");
      entry = static_cast<std::uint32_t>(value);
    }
    at += (std::uint64_t{note.n_descsz} + 3) & ~std::uint64_t{3};
  }
  return {};
}

base::Status check_layout(ElfKernel& kernel) {
  if (kernel.segments.empty()) return bad("it has nothing to load");
  std::sort(kernel.segments.begin(), kernel.segments.end(),
            [](const KernelSegment& a, const KernelSegment& b) { return a.address < b.address; });
  for (std::size_t i = 1; i < kernel.segments.size(); ++i) {
    const KernelSegment& before = kernel.segments[i - 1];
    if (kernel.segments[i].address < before.address + before.memory_bytes) return bad("its segments overlap");
  }
  if (kernel.entry == 0) return bad("it has no PVH entry point");
  const bool inside = std::any_of(kernel.segments.begin(), kernel.segments.end(), [&](const KernelSegment& segment) {
    return kernel.entry >= segment.address.value && kernel.entry - segment.address.value < segment.memory_bytes;
  });
  if (!inside) return bad("its entry point lies outside it");
  return {};
}

// Code is patched wherever it is; "writable" is believed of sections in writable segments only (the kernel calls its
// read-only data writable until it has booted). A header that makes no sense ends the list: it is a hint.
void find_written(std::span<const std::byte> file, const Elf64_Ehdr& header, const std::vector<Elf64_Phdr>& programs,
                  ElfKernel& kernel) {
  if (header.e_shentsize != sizeof(Elf64_Shdr)) return;
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(header.e_shnum, kSectionsMax); ++i) {
    Elf64_Shdr section;
    std::uint64_t at = 0;
    if (__builtin_add_overflow(header.e_shoff, i * sizeof section, &at) || !read(file, at, section)) return;
    if (section.sh_type != SHT_PROGBITS || (section.sh_flags & SHF_ALLOC) == 0 || section.sh_size == 0) continue;
    for (const Elf64_Phdr& program : programs) {
      const std::uint64_t inside = section.sh_offset - program.p_offset;
      if (section.sh_offset < program.p_offset || inside >= program.p_filesz) continue;
      if (section.sh_size > program.p_filesz - inside) continue;
      const bool data = (section.sh_flags & SHF_WRITE) != 0 && (program.p_flags & PF_W) != 0;
      if (!data && (section.sh_flags & SHF_EXECINSTR) == 0) break;
      kernel.written.push_back({section.sh_offset, GuestAddress{program.p_paddr + inside}, section.sh_size});
      break;
    }
  }
}

}  // namespace

base::Result<ElfKernel> parse_elf_kernel(std::span<const std::byte> file) {
  Elf64_Ehdr header;
  if (!read(file, 0, header)) return bad("it is truncated");
  SANDFORGE_TRY_STATUS(check_header(header));
  ElfKernel kernel;
  std::vector<Elf64_Phdr> programs;
  for (std::uint64_t i = 0; i < header.e_phnum; ++i) {
    Elf64_Phdr program;
    std::uint64_t at = 0;
    if (__builtin_add_overflow(header.e_phoff, i * sizeof program, &at) || !read(file, at, program)) {
      return bad("its program headers are truncated");
    }
    if (program.p_type == PT_LOAD) {
      SANDFORGE_TRY_STATUS(add_segment(file, program, kernel));
      programs.push_back(program);
    }
    if (program.p_type == PT_NOTE) {
      const auto notes = slice(file, program.p_offset, program.p_filesz);
      if (notes.size() != program.p_filesz) return bad("its notes are truncated");
      SANDFORGE_TRY_STATUS(find_entry(notes, kernel.entry));
    }
  }
  SANDFORGE_TRY_STATUS(check_layout(kernel));
  find_written(file, header, programs, kernel);
  return kernel;
}

}  // namespace sandforge::vmm
