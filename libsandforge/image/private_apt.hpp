// SPDX-License-Identifier: Apache-2.0
// apt with lists, cache and sources of its own in a directory, but the host's configuration (proxies, keys): finds and
// downloads packages without installing them, and without the host's state.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.hpp"
#include "image/apt_sources.hpp"
#include "image/tool.hpp"

namespace sandforge::image {

class PrivateApt {
 public:
  // Lays out `dir`. Nothing is downloaded yet.
  static base::Result<PrivateApt> make(const std::filesystem::path& dir, const AptSources& sources);

  // All three BLOCK on the network and have the errors of run_tool.
  base::Status update() const;
  // `package`, or the first package it depends on whose name begins with `prefix` when it is a meta package.
  // Error: not_found "kernel_package_missing".
  base::Result<std::string> concrete(std::string_view package, std::string_view prefix) const;
  // The version that `download` would take. Error: not_found "kernel_package_missing".
  base::Result<std::string> version_of(const std::string& package) const;
  // The .deb of `package`, a file in `dir`.
  base::Result<std::filesystem::path> download(const std::string& package) const;

 private:
  explicit PrivateApt(std::filesystem::path dir) : dir_(std::move(dir)) {}
  base::Result<std::string> run(const Tool& tool, std::vector<std::string> args) const;
  std::filesystem::path dir_;
};

// not_found "kernel_package_missing"; `why` ends its message.
base::Error no_kernel_package(std::string_view package, std::string_view why);

// Of `apt-cache depends`: the first "  Depends: PREFIX…"; empty when there is none.
std::string_view parse_depends(std::string_view output, std::string_view prefix);
// Of `apt-cache show`: the first "Version: "; empty when there is none.
std::string_view parse_version(std::string_view output);

// The one file of `dir` whose name begins and ends so. Errors: not_found, internal (several).
base::Result<std::filesystem::path> only_file(const std::filesystem::path& dir, std::string_view prefix,
                                              std::string_view suffix);

}  // namespace sandforge::image
