// SPDX-License-Identifier: Apache-2.0
// The guest's kernel compiled from the distribution's source package with the configuration in kernel/, cached in the
// store by everything that its bytes depend on.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "image/apt_sources.hpp"
#include "image/store.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

// What the bytes of a built kernel depend on.
struct KernelBuildInputs {
  std::string package;   // "linux-source-6.1"
  std::string version;   // of that package
  std::string config;    // the fragment
  std::string compiler;  // first line of its --version
  std::string linker;
};
// "sha256:…". Comments in the configuration do not count; a format number for the way of building does.
std::string kernel_build_key(const KernelBuildInputs& inputs);

// What is changed in the unpacked `source` before it is compiled: each a few words, with its reason in the .cpp.
// Sources that no longer have the words stay as they are. Answers how many were there.
base::Result<std::size_t> edit_source(const std::filesystem::path& source);

// The tools of a kernel build that are missing here. Error: unsupported "tool_missing", the remedy names the packages.
base::Status require_kernel_tools();

// Turns make's "  CC      init/main.o" lines into progress: counts them, out of what a build usually has.
class CompileProgress {
 public:
  explicit CompileProgress(const Progress& progress);
  void line(std::string_view text);
  void end();
  std::uint64_t objects() const noexcept { return objects_; }

 private:
  const Progress& progress_;
  std::uint64_t objects_ = 0;
};

struct BuiltKernel {
  std::filesystem::path vmlinux;  // in `temp`
  std::string key;                // kernel_build_key
  bool from_cache = false;
};
// Compiles with one job per CPU, or takes the store's kernel of the same key. Root compiles as "nobody", without
// network, with only the build directory to write to. BLOCKS for minutes; needs limits::kKernelBuildBytes of disk.
// Errors: unsupported "tool_missing" or "kernel_config" (the sources do not grant a line of the configuration),
// exhausted "no_space", not_found "kernel_package_missing", those of run_tool.
base::Result<BuiltKernel> build_kernel(const Store& store, const AptSources& sources, std::string_view package,
                                       const std::filesystem::path& temp, const Progress& progress);

}  // namespace sandforge::image
