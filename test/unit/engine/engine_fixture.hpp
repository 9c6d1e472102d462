// SPDX-License-Identifier: Apache-2.0
// An engine over the fake backend in a state directory of its own, for tests of what the public API cannot show.
#pragma once

#include <doctest/doctest.h>

#include <cstdlib>
#include <filesystem>
#include <string>
#include <vector>

#include "engine/engine.hpp"

namespace sandforge::engine::test {

class TempState {
 public:
  TempState() {
    std::string pattern = (std::filesystem::temp_directory_path() / "sandforge-engine-XXXXXX").string();
    REQUIRE(::mkdtemp(pattern.data()) != nullptr);
    path_ = pattern;
  }
  ~TempState() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TempState(const TempState&) = delete;
  TempState& operator=(const TempState&) = delete;
  std::filesystem::path state() const { return path_ / "state"; }
  EngineOptions options() const {
    EngineOptions options;
    options.state_dir = state();
    return options;
  }

 private:
  std::filesystem::path path_;
};

inline SandboxSpec fake_spec(std::string id) {
  SandboxSpec spec;
  spec.id = std::move(id);
  spec.backend = "fake";
  return spec;
}

inline std::shared_ptr<Sandbox> create(Engine& engine, std::string id) {
  auto sandbox = engine.create_sandbox(fake_spec(std::move(id)), nullptr);
  REQUIRE(sandbox);
  return std::move(sandbox).value();
}

inline ExecSpec command(std::vector<std::string> argv, std::int64_t timeout_ms = 0) {
  ExecSpec spec;
  spec.argv = std::move(argv);
  spec.timeout_ms = timeout_ms;
  auto resolved = resolve_exec(std::move(spec));
  REQUIRE(resolved);
  return std::move(resolved).value();
}

}  // namespace sandforge::engine::test
