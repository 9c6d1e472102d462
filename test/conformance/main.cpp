// SPDX-License-Identifier: Apache-2.0
// The conformance suite: one list of cases, run against the backend named by --backend=NAME or SANDFORGE_TEST_BACKEND
// ("fake" when neither is given). Exit status 77, with the reason, when this host cannot run that backend.
#define DOCTEST_CONFIG_IMPLEMENT
#include "support.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>

namespace conformance {
namespace {

struct World {
  std::string backend = "fake";
  std::filesystem::path directory;
  Engine engine;
  std::unique_ptr<Guest> shared;
};
World& world() {
  static World instance;
  return instance;
}

void print_log(void*, sandforge_log_level level, const char* message) {
  std::fprintf(stderr, "[engine %u] %s\n", level, message);
}

// The reason why this host cannot run the suite, empty when it can.
std::string obstacle() {
  sandforge_backend_list* list = nullptr;
  if (sandforge_engine_backends(engine(), &list, nullptr) != SANDFORGE_OK) return "the backends cannot be listed";
  std::string reason = "there is no such backend";
  for (std::size_t i = 0; i < list->count; ++i) {
    const sandforge_backend_info& backend = *list->items[i];
    if (backend.name == world().backend) reason = backend.available != 0 ? "" : backend.reason;
  }
  sandforge_backend_list_free(list);
  if (!reason.empty() || is_fake()) return reason;
  sandforge_check_list* checks = nullptr;
  if (sandforge_doctor(nullptr, &checks, nullptr) != SANDFORGE_OK) return "the host cannot be examined";
  for (std::size_t i = 0; i < checks->count; ++i) {
    const sandforge_check& check = *checks->items[i];
    const bool needed = std::strcmp(check.name, "image") == 0 || std::strcmp(check.name, "agent") == 0 ||
                        std::strcmp(check.name, "mke2fs") == 0;
    if (needed && check.status == 2) reason = std::string(check.name) + ": " + check.detail;
  }
  sandforge_check_list_free(checks);
  return reason;
}

bool set_up() {
  std::string pattern = (std::filesystem::temp_directory_path() / "sandforge-conformance-XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) {
    std::perror("mkdtemp");
    return false;
  }
  world().directory = pattern;
  const std::string state = (world().directory / "state").string();
  sandforge_engine_options options = SANDFORGE_ENGINE_OPTIONS_INIT;
  options.state_dir = state.c_str();
  if (std::getenv("SANDFORGE_TEST_LOG") != nullptr) {
    options.log = &print_log;
    options.log_level = SANDFORGE_LOG_DEBUG;
  }
  sandforge_engine* engine = nullptr;
  Failure failure;
  if (sandforge_engine_create(&options, &engine, failure.slot()) != SANDFORGE_OK) {
    std::fprintf(stderr, "engine: %s\n", failure.message().c_str());
    return false;
  }
  world().engine.reset(engine);
  return true;
}

void tear_down() {
  world().shared.reset();
  world().engine.reset();
  std::error_code ignored;
  if (!world().directory.empty()) std::filesystem::remove_all(world().directory, ignored);
}

}  // namespace

const std::string& backend_name() { return world().backend; }
bool is_fake() { return world().backend == "fake"; }
sandforge_engine* engine() { return world().engine.get(); }
sandforge_sandbox* shared_guest() {
  if (!world().shared) world().shared = std::make_unique<Guest>();
  return world().shared->get();
}

}  // namespace conformance

int main(int argc, char** argv) {
  using namespace conformance;
  if (const char* name = std::getenv("SANDFORGE_TEST_BACKEND"); name != nullptr && *name != '\0') {
    world().backend = name;
  }
  for (int i = 1; i < argc; ++i) {
    if (std::strncmp(argv[i], "--backend=", 10) == 0) world().backend = argv[i] + 10;
  }
  if (!set_up()) {
    tear_down();
    return 1;
  }
  if (const std::string reason = obstacle(); !reason.empty()) {
    std::printf("skipped: backend %s: %s\n", backend_name().c_str(), reason.c_str());
    tear_down();
    return 77;
  }
  doctest::Context context(argc, argv);
  const int status = context.run();
  tear_down();
  return status;
}
