// SPDX-License-Identifier: Apache-2.0
// What the opaque handles hold, and conversions between the C ABI's structs and the engine's values.
#pragma once

#include <sandforge/sandforge.h>

#include <memory>
#include <string>
#include <vector>

#include "engine/engine.hpp"
#include "engine/files.hpp"
#include "engine/process.hpp"

struct sandforge_engine {
  std::unique_ptr<sandforge::engine::Engine> engine;
};

struct sandforge_sandbox {
  std::shared_ptr<sandforge::engine::Sandbox> sandbox;
  std::shared_ptr<sandforge::engine::Notifier> notifier;  // of create_begin, else null
};

struct sandforge_process {
  std::shared_ptr<sandforge::engine::Process> process;
};

namespace sandforge::capi {

// NULL means the default, which inside is the empty string.
inline std::string text_of(const char* text) { return text == nullptr ? std::string() : std::string(text); }

// Structs made by the library: the C struct first, what its pointers point to behind it. Freed as what they are.
// Text fields are set by seal(), once the object has its final place.
template <typename Public>
struct Owned : Public {
  Owned() : Public{} { this->size = sizeof(Public); }
  Owned(const Owned&) = delete;
  Owned& operator=(const Owned&) = delete;
};

// A list of library-made structs.
template <typename PublicList, typename OwnedItem>
struct OwnedList : Owned<PublicList> {
  std::vector<std::unique_ptr<OwnedItem>> owned;
  std::vector<std::remove_cv_t<std::remove_pointer_t<decltype(PublicList::items)>>> pointers;

  void seal() {
    pointers.clear();
    for (const auto& item : owned) pointers.push_back(item.get());
    this->count = pointers.size();
    this->items = pointers.data();
  }
};

base::Result<engine::EngineOptions> options_of(const sandforge_engine_options* options);
base::Result<engine::SandboxSpec> spec_of(const sandforge_sandbox_spec* spec);
// Without stdin_data, which only one caller has use for.
base::Result<engine::ExecSpec> exec_spec_of(const sandforge_exec_spec& spec);

}  // namespace sandforge::capi
