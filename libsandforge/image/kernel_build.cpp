// SPDX-License-Identifier: Apache-2.0
#include "image/kernel_build.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <sched.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/limits.hpp"
#include "image/bzimage.hpp"
#include "image/digest.hpp"
#include "image/embedded.hpp"
#include "image/file_io.hpp"
#include "image/kernel_config.hpp"
#include "image/private_apt.hpp"

namespace sandforge::image {

namespace fs = std::filesystem;

namespace {

// Lines with which make announces an object, in a build of our configuration; only the progress bar depends on it.
constexpr std::uint64_t kUsualObjects = 1200;
constexpr uid_t kNobody = 65534;

struct SourceEdit {
  const char* file;
  std::string_view from, to;  // the first place only
};
constexpr std::array<SourceEdit, 2> kSourceEdits = {{
    // ACPI without PCI: up to Linux 6.1 the core gives up on all tables when it cannot install a handler for PCI's
    // address space, which it then does not have. In the list of address spaces that get a handler by default; the list
    // keeps its length, its last entry, now 0, is system memory again, and a second handler for that is no error.
    {"drivers/acpi/acpica/evhandler.c", "\n\tACPI_ADR_SPACE_PCI_CONFIG,\n", "\n"},
    // No pattern into memory that is given back after start-up (between text, data and initialisation code): it would
    // touch 3 MiB that nobody ever used, each page a fault on the host.
    {"arch/x86/mm/init.c", "\t\t\t\t   POISON_FREE_INITMEM, what);", "\t\t\t\t   -1, what);"},
}};

constexpr Tool kMake{"make", "make"};
constexpr Tool kGcc{"gcc", "gcc"};
constexpr Tool kLd{"ld", "binutils"};
constexpr Tool kStrip{"strip", "binutils"};
constexpr Tool kFlex{"flex", "flex"};
constexpr Tool kBison{"bison", "bison"};
constexpr Tool kBc{"bc", "bc"};
constexpr Tool kPerl{"perl", "perl-base"};
constexpr Tool kTest{"test", "coreutils"};

std::string first_line(std::string_view text) { return std::string(text.substr(0, text.find('\n'))); }

base::Result<KernelBuildInputs> find_inputs(const PrivateApt& apt, std::string_view package) {
  KernelBuildInputs inputs;
  SANDFORGE_TRY(inputs.package, apt.concrete(package, "linux-source-"));
  SANDFORGE_TRY(inputs.version, apt.version_of(inputs.package));
  inputs.config = kKernelConfig;
  SANDFORGE_TRY(const std::string compiler, run_tool({.tool = kGcc, .args = {"--version"}}));
  SANDFORGE_TRY(const std::string linker, run_tool({.tool = kLd, .args = {"--version"}}));
  inputs.compiler = first_line(compiler);
  inputs.linker = first_line(linker);
  return inputs;
}

base::Status check_disk(const fs::path& temp) {
  struct statvfs space {};
  if (::statvfs(temp.c_str(), &space) != 0) return base::os_error("cannot ask for the free space of " + temp.string());
  const std::uint64_t free = static_cast<std::uint64_t>(space.f_bavail) * space.f_frsize;
  if (free >= limits::kKernelBuildBytes) return {};
  return base::make_error(base::Code::Exhausted, "no_space",
                          fmt::format("a kernel build takes {} MiB for a while, and {} has {}",
                                      limits::kKernelBuildBytes / limits::kMiB, temp.string(), free / limits::kMiB),
                          "free some disk space, or set SANDFORGE_IMAGE_DIR to a directory on another disk");
}

// The tree of a linux-source package: /usr/src/linux-source-*.tar.* in it, unpacked.
base::Result<fs::path> unpack_source(const fs::path& deb, const std::string& package, const fs::path& temp,
                                     const Progress& progress) {
  constexpr std::string_view kStep = "unpack kernel source";
  if (progress) progress(kStep, 0, 2);
  const fs::path tree = temp / "source-package";
  SANDFORGE_TRY(const std::string extracted, run_tool({.tool = kDpkgDeb, .args = {"-x", deb.string(), tree.string()}}));
  auto archive = only_file(tree / "usr/src", "linux-source-", ".tar.xz");
  if (!archive) return no_kernel_package(package, "there is no /usr/src/linux-source-*.tar.xz in it");
  if (progress) progress(kStep, 1, 2);
  const fs::path source = temp / "linux";
  SANDFORGE_TRY_STATUS(make_dirs(source));
  SANDFORGE_TRY(const std::string unpacked, run_tool({.tool = kTar,
                                                      .args = {"-C", source.string(), "--strip-components=1",
                                                               "--no-same-owner", "-xJf", archive.value().string()},
                                                      .starts_others = true}));
  remove_tree(tree);
  std::error_code error;
  fs::remove(deb, error);
  if (progress) progress(kStep, 2, 2);
  return source;
}

// One `make` of the kernel's own build system, from `source` into `output`.
class KernelMake {
 public:
  KernelMake(fs::path source, fs::path output) : source_(std::move(source)), output_(std::move(output)) {}

  // Whoever else builds as root would run the sources' scripts as root. Answers whether that could be avoided.
  bool drop_privileges() {
    if (::geteuid() != 0 || ::chown(output_.c_str(), kNobody, kNobody) != 0) return ::geteuid() != 0;
    const auto reached =
        run_tool({.tool = kTest, .args = {"-w", output_.string()}, .starts_others = true, .unprivileged = true});
    unprivileged_ = static_cast<bool>(reached);
    return unprivileged_;
  }

  base::Status run(std::vector<std::string> targets, const std::function<void(std::string_view)>& on_line) const {
    ToolRun make{.tool = kMake};
    make.args = {"-C",     source_.string(), "O=" + output_.string(),    "ARCH=x86",
                 "CC=gcc", "HOSTCC=gcc",     fmt::format("-j{}", jobs())};
    make.args.insert(make.args.end(), targets.begin(), targets.end());
    // Nothing of the day, the user or the host gets into the kernel.
    make.env = {"KBUILD_BUILD_TIMESTAMP=Tue Nov 14 22:13:20 UTC 2023",
                "KBUILD_BUILD_USER=sandforge",
                "KBUILD_BUILD_HOST=sandforge",
                "KBUILD_BUILD_VERSION=1",
                "KCONFIG_ALLCONFIG=" + (output_ / kFragment).string(),
                "TMPDIR=" + output_.string()};
    make.cwd = output_;
    make.starts_others = true;
    make.unprivileged = unprivileged_;
    make.merge_output = true;
    make.on_line = on_line;
    auto output = run_tool(make);
    if (!output) return std::move(output).error().context("kernel build");
    return {};
  }

  static constexpr const char* kFragment = "sandforge.config";

 private:
  // Of the CPUs this process may use.
  static int jobs() {
    cpu_set_t allowed;
    if (::sched_getaffinity(0, sizeof allowed, &allowed) != 0) return 1;
    return std::clamp(CPU_COUNT(&allowed), 1, limits::kKernelBuildJobsMax);
  }

  fs::path source_, output_;
  bool unprivileged_ = false;
};

base::Status check_config(const KernelBuildInputs& inputs, const fs::path& file) {
  SANDFORGE_TRY(const std::string granted, read_file(file, limits::kModuleBytesMax));
  const auto refused = refused_lines(inputs.config, granted);
  if (refused.empty()) return {};
  return base::make_error(
      base::Code::Unsupported, "kernel_config",
      fmt::format("{} {} does not grant: {}", inputs.package, inputs.version, fmt::join(refused, "; ")),
      "use the kernel source of the suite of the default recipe, or kernel = \"stock\"");
}

base::Status compile(const KernelBuildInputs& inputs, const fs::path& source, const fs::path& output,
                     const fs::path& vmlinux, const Progress& progress) {
  SANDFORGE_TRY_STATUS(make_dirs(output));
  SANDFORGE_TRY_STATUS(write_file(output / KernelMake::kFragment, inputs.config));
  KernelMake make(source, output);
  if (!make.drop_privileges() && progress) {
    progress("warning: the kernel is compiled as root, for nobody else can reach " + output.string(), 0, 0);
  }
  if (progress) progress("configure kernel", 0, 1);
  SANDFORGE_TRY_STATUS(make.run({"allnoconfig"}, {}));
  SANDFORGE_TRY_STATUS(check_config(inputs, output / ".config"));
  if (progress) progress("configure kernel", 1, 1);
  CompileProgress ticks(progress);
  SANDFORGE_TRY_STATUS(make.run({"vmlinux"}, [&](std::string_view line) { ticks.line(line); }));
  ticks.end();
  // The symbol table is a third of the file, and nothing at run time reads it.
  SANDFORGE_TRY(const std::string ignored,
                run_tool({.tool = kStrip, .args = {"-o", vmlinux.string(), (output / "vmlinux").string()}}));
  return {};
}

}  // namespace

std::string kernel_build_key(const KernelBuildInputs& inputs) {
  Sha256 hash;
  const auto add = [&hash](std::string_view text) {
    hash.update(fmt::format("{}:", text.size()));
    hash.update(text);
  };
  hash.update(fmt::format("sandforge kernel build {}\n", kKernelBuildFormat));
  for (const std::string* text : {&inputs.package, &inputs.version, &inputs.compiler, &inputs.linker}) add(*text);
  for (const std::string_view line : config_lines(inputs.config)) add(line);
  return hash.finish();
}

base::Status require_kernel_tools() {
  SANDFORGE_TRY_STATUS(
      require_tools({kApt, kAptCache, kDpkgDeb, kTar, kXz, kMake, kGcc, kLd, kStrip, kFlex, kBison, kBc, kPerl}));
  // objtool, which the kernel's build compiles and runs, is a program on libelf.
  for (const auto& [header, package] : {std::pair{"stdlib.h", "libc6-dev"}, std::pair{"gelf.h", "libelf-dev"}}) {
    const auto found = run_tool({.tool = kGcc, .args = {"-E", "-include", header, "-x", "c", "/dev/null"}});
    if (found) continue;
    return base::make_error(base::Code::Unsupported, "tool_missing", fmt::format("not installed here: {}", header),
                            fmt::format("apt-get install {}", package));
  }
  return {};
}

base::Result<std::size_t> edit_source(const fs::path& source) {
  std::size_t made = 0;
  for (const SourceEdit& edit : kSourceEdits) {
    const fs::path file = source / edit.file;
    SANDFORGE_TRY(std::string text, read_file(file, limits::kModuleBytesMax));
    const std::size_t found = text.find(edit.from);
    if (found == std::string::npos) continue;
    text.replace(found, edit.from.size(), edit.to);
    SANDFORGE_TRY_STATUS(write_file(file, text));
    ++made;
  }
  return made;
}

CompileProgress::CompileProgress(const Progress& progress) : progress_(progress) {
  if (progress_) progress_("compile kernel", 0, kUsualObjects);
}

void CompileProgress::line(std::string_view text) {
  constexpr std::array<std::string_view, 4> kSteps = {"  CC ", "  AS ", "  HOSTCC ", "  LD "};
  const auto starts = [text](std::string_view step) { return text.starts_with(step); };
  if (std::none_of(kSteps.begin(), kSteps.end(), starts)) return;
  ++objects_;
  // Never done before the end, however many there are.
  if (progress_) progress_("compile kernel", std::min(objects_, kUsualObjects - 1), kUsualObjects);
}

void CompileProgress::end() {
  if (progress_) progress_("compile kernel", kUsualObjects, kUsualObjects);
}

base::Result<BuiltKernel> build_kernel(const Store& store, const AptSources& sources, std::string_view package,
                                       const fs::path& temp, const Progress& progress) {
  constexpr std::string_view kStep = "download kernel source";
  SANDFORGE_TRY_STATUS(require_kernel_tools());
  if (progress) progress(kStep, 0, 2);
  SANDFORGE_TRY(const PrivateApt apt, PrivateApt::make(temp / "apt-source", sources));
  SANDFORGE_TRY_STATUS(apt.update());
  SANDFORGE_TRY(const KernelBuildInputs inputs, find_inputs(apt, package));
  BuiltKernel kernel{.vmlinux = temp / "vmlinux", .key = kernel_build_key(inputs)};
  SANDFORGE_TRY(kernel.from_cache, store.take_kernel(kernel.key, kernel.vmlinux));
  if (kernel.from_cache) return kernel;

  SANDFORGE_TRY_STATUS(check_disk(temp));
  if (progress) progress(kStep, 1, 2);
  SANDFORGE_TRY(const fs::path deb, apt.download(inputs.package));
  if (progress) progress(kStep, 2, 2);
  SANDFORGE_TRY(const fs::path source, unpack_source(deb, inputs.package, temp, progress));
  SANDFORGE_TRY([[maybe_unused]] const std::size_t edits, edit_source(source));
  const fs::path output = temp / "kernel-build";
  SANDFORGE_TRY_STATUS(compile(inputs, source, output, kernel.vmlinux, progress));
  // Two gigabytes that the rest of the image's build should not have to share the disk with.
  remove_tree(source);
  remove_tree(output);
  SANDFORGE_TRY_STATUS(store.keep_kernel(kernel.key, kernel.vmlinux));
  return kernel;
}

}  // namespace sandforge::image
