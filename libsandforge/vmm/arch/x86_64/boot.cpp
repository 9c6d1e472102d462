// SPDX-License-Identifier: Apache-2.0
#include "vmm/arch/x86_64/boot.hpp"

#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <vector>

#include "vmm/arch/x86_64/elf_kernel.hpp"
#include "vmm/arch/x86_64/layout.hpp"

namespace sandforge::vmm {
namespace {

// SPEC: Xen public/arch-x86/hvm/start_info.h, version 1.
constexpr std::uint32_t kStartMagic = 0x336ec578;
constexpr std::uint32_t kTypeRam = 1, kTypeReserved = 2, kTypeAcpi = 3;

struct StartInfo {
  std::uint32_t magic = kStartMagic;
  std::uint32_t version = 1;
  std::uint32_t flags = 0;
  std::uint32_t module_count = 0;
  std::uint64_t module_list = kModuleList;
  std::uint64_t command_line = kCommandLine;
  std::uint64_t rsdp = kAcpiStart;
  std::uint64_t memory_map = kMemoryMap;
  std::uint32_t memory_map_entries = 0;
  std::uint32_t reserved = 0;
};
static_assert(sizeof(StartInfo) == 56 && kStartInfo + sizeof(StartInfo) <= kModuleList);

struct Module {
  std::uint64_t address = 0, bytes = 0, command_line = 0, reserved = 0;
};
static_assert(sizeof(Module) == 32 && kModuleList + sizeof(Module) <= kMemoryMap);

struct MapEntry {
  std::uint64_t address = 0, bytes = 0;
  std::uint32_t type = 0, reserved = 0;
};
static_assert(sizeof(MapEntry) == 24);

base::Error too_small(const char* what) {
  return base::make_error(base::Code::InvalidArgument, "memory_too_small",
                          std::string("the guest's memory does not hold ") + what, "give the sandbox more memory");
}

base::Result<std::uint64_t> file_bytes(int fd, const char* what) {
  struct stat info {};
  if (::fstat(fd, &info) != 0) return base::os_error(std::string("look at ") + what);
  if (!S_ISREG(info.st_mode) || info.st_size <= 0) {
    return base::make_error(base::Code::InvalidArgument, std::string("bad_") + what,
                            std::string("the ") + what + " is no regular file, or empty", "build the image again");
  }
  return static_cast<std::uint64_t>(info.st_size);
}

// Read-only view of a whole file for the parser; pages come in as it looks at them.
class FileView {
 public:
  FileView(int fd, std::uint64_t bytes) : bytes_(bytes), at_(::mmap(nullptr, bytes, PROT_READ, MAP_PRIVATE, fd, 0)) {}
  FileView(const FileView&) = delete;
  FileView& operator=(const FileView&) = delete;
  ~FileView() {
    if (ok()) ::munmap(at_, bytes_);
  }
  bool ok() const { return at_ != MAP_FAILED; }
  std::span<const std::byte> span() const { return {static_cast<const std::byte*>(at_), bytes_}; }

 private:
  std::uint64_t bytes_;
  void* at_;
};

// Whether a stretch of the kernel is likely nothing but filling: it starts with one byte again and again, as linkers
// pad code and data. Looked at by reading: pages mapped for a look must be unmapped again.
bool is_filling(int fd, std::uint64_t offset) {
  std::array<std::byte, 64> start;
  if (::pread(fd, start.data(), start.size(), static_cast<off_t>(offset)) != static_cast<ssize_t>(start.size())) {
    return true;
  }
  return std::all_of(start.begin() + 1, start.end(), [&](std::byte byte) { return byte == start.front(); });
}

// The stretches of a piece that are not filling, joined where they adjoin.
void add_written(int fd, const WrittenPiece& piece, std::vector<GuestRange>& out) {
  constexpr std::uint64_t kStretch = 16 * kPage;
  bool joins = false;
  for (std::uint64_t at = 0; at < piece.bytes; at += kStretch) {
    const std::uint64_t bytes = std::min(kStretch, piece.bytes - at);
    if (is_filling(fd, piece.file_offset + at)) {
      joins = false;
    } else if (joins) {
      out.back().bytes += bytes;
    } else {
      out.push_back({piece.address + at, bytes});
      joins = true;
    }
  }
}

base::Result<ElfKernel> load_kernel(GuestRam& ram, int fd) {
  SANDFORGE_TRY(const std::uint64_t bytes, file_bytes(fd, "kernel"));
  const FileView view(fd, bytes);
  if (!view.ok()) return base::os_error("map the kernel");
  SANDFORGE_TRY(ElfKernel kernel, parse_elf_kernel(view.span()));
  if (kernel.end > ram.low_end()) return too_small("its kernel");
  for (const KernelSegment& segment : kernel.segments) {
    SANDFORGE_TRY_STATUS(ram.place_file(segment.address, fd, segment.file_offset, segment.file_bytes, "its kernel"));
  }
  return kernel;
}

// At the top of low memory, whole pages: nothing that the kernel does early reaches there.
base::Result<Module> load_initrd(GuestRam& ram, int fd, std::uint64_t kernel_end) {
  SANDFORGE_TRY(const std::uint64_t bytes, file_bytes(fd, "initrd"));
  if (bytes > ram.low_end()) return too_small("its initrd");
  const std::uint64_t start = (ram.low_end() - bytes) / kPage * kPage;
  if (start < kernel_end) return too_small("kernel and initrd");
  SANDFORGE_TRY_STATUS(ram.place_file(GuestAddress{start}, fd, 0, bytes, "its initrd"));
  return Module{start, bytes, 0, 0};
}

std::vector<MapEntry> memory_map(const GuestRam& ram) {
  std::vector<MapEntry> map{{0, kLowRamEnd, kTypeRam, 0},
                            {kLowRamEnd, kAcpiStart - kLowRamEnd, kTypeReserved, 0},
                            {kAcpiStart, kAcpiEnd - kAcpiStart, kTypeAcpi, 0},
                            {kAcpiEnd, ram.low_end() - kAcpiEnd, kTypeRam, 0}};
  for (const MemoryRegion& region : ram.memory().regions()) {
    if (region.start.value != 0) map.push_back({region.start.value, region.size, kTypeRam, 0});
  }
  return map;
}

}  // namespace

base::Result<BootEntry> load_guest(GuestRam& ram, const BootFiles& files, const std::string& command_line) {
  if (command_line.size() >= kCommandLineMax || command_line.find('\0') != std::string::npos) {
    return base::make_error(base::Code::InvalidArgument, "bad_command_line",
                            "the kernel's command line is longer than 2047 bytes, or has a NUL",
                            "install library and sandforge-vmm of one version");
  }
  if (ram.low_end() <= kAcpiEnd) return too_small("a kernel");
  SANDFORGE_TRY(const ElfKernel kernel, load_kernel(ram, files.kernel));
  SANDFORGE_TRY(const Module initrd, load_initrd(ram, files.initrd, kernel.end));

  const std::vector<MapEntry> map = memory_map(ram);
  StartInfo info;
  info.module_count = 1;
  info.memory_map_entries = static_cast<std::uint32_t>(map.size());
  const GuestMemory& memory = ram.memory();
  bool written =
      memory.write_object(GuestAddress{kStartInfo}, info) && memory.write_object(GuestAddress{kModuleList}, initrd) &&
      memory.write(GuestAddress{kMemoryMap}, std::as_bytes(std::span(map))) &&
      // With its terminating NUL.
      memory.write(GuestAddress{kCommandLine}, std::as_bytes(std::span(command_line.c_str(), command_line.size() + 1)));
  if (!written) return too_small("its boot data");
  BootEntry entry{kernel.entry, static_cast<std::uint32_t>(kStartInfo), {}};
  for (const WrittenPiece& piece : kernel.written) add_written(files.kernel, piece, entry.soon_written);
  return entry;
}

}  // namespace sandforge::vmm
