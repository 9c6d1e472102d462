// SPDX-License-Identifier: Apache-2.0
// Specs that must be refused, each with its code and reason; nothing is made for them.
#include <functional>

#include "support.hpp"

using namespace conformance;

namespace {

struct Row {
  const char* what;
  std::function<void(sandforge_sandbox_spec&)> spoil;
  sandforge_code code;
  const char* reason;
  const char* in_message;
};

const sandforge_mount kSystem = {"/usr", "/mnt", 1};
const sandforge_mount kKernel = {"/", "/mnt", 0};
const sandforge_mount kMissing = {"/no/such/directory", "/mnt", 0};
const sandforge_mount kRelative = {"src", "/mnt", 0};
const sandforge_mount kOverGuest = {"/usr", "/", 1};

std::function<void(sandforge_sandbox_spec&)> mounting(const sandforge_mount& mount) {
  return [&mount](auto& s) { s.mounts = &mount, s.mount_count = 1; };
}

const std::vector<Row>& rows() {
  static const std::vector<Row> all = {
      {"negative cpu", [](auto& s) { s.cpu = -1; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "cpu is -1"},
      {"absurd cpu", [](auto& s) { s.cpu = 1'000'000; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "cpu is 1000000"},
      {"little memory", [](auto& s) { s.memory_mb = 1; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "memory_mb is 1"},
      {"absurd memory", [](auto& s) { s.memory_mb = INT64_MAX; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "memory_mb"},
      {"negative disk", [](auto& s) { s.disk_gb = -5; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "disk_gb is -5"},
      {"absurd disk", [](auto& s) { s.disk_gb = 1'000'000; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "disk_gb"},
      {"negative life", [](auto& s) { s.timeout_sec = -1; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "timeout_sec is -1"},
      {"absurd life", [](auto& s) { s.timeout_sec = INT64_MAX; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "timeout_sec"},
      {"unknown network", [](auto& s) { s.network_mode = "wifi"; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "network_mode is \"wifi\""},
      {"network fetch", [](auto& s) { s.network_mode = "fetch"; }, SANDFORGE_UNSUPPORTED, "network_unsupported",
       "fetch"},
      {"network full", [](auto& s) { s.network_mode = "full"; }, SANDFORGE_UNSUPPORTED, "network_unsupported", "full"},
      {"unknown isolation", [](auto& s) { s.task_isolation = "none"; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "task_isolation is \"none\""},
      {"a mount of the system", mounting(kSystem), SANDFORGE_DENIED, "policy_denied", "mounts[0].host_path"},
      {"a mount of everything", mounting(kKernel), SANDFORGE_DENIED, "policy_denied", "mounts[0].host_path"},
      {"a mount of nothing", mounting(kMissing), SANDFORGE_NOT_FOUND, "host_path_missing", "mounts[0].host_path"},
      {"a mount by a relative path", mounting(kRelative), SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "mounts[0].host_path"},
      {"a mount over the guest", mounting(kOverGuest), SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "mounts[0].guest_path"},
      {"mounts without a pointer", [](auto& s) { s.mount_count = 3; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "mount_count"},
      {"unknown backend", [](auto& s) { s.backend = "vmware"; }, SANDFORGE_INVALID_ARGUMENT, "unknown_backend",
       "known are auto"},
      {"backend of a later release", [](auto& s) { s.backend = "linux-firecracker"; }, SANDFORGE_UNSUPPORTED,
       "backend_unavailable", "linux-firecracker"},
      {"id with a slash", [](auto& s) { s.id = "a/b"; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "id is \"a/b\""},
      {"id of dots", [](auto& s) { s.id = ".."; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "id is"},
      {"id with a control byte", [](auto& s) { s.id = "a\nb"; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec", "a\\x0ab"},
      {"image that is no name", [](auto& s) { s.image = "../etc"; }, SANDFORGE_INVALID_ARGUMENT, "invalid_spec",
       "image is"},
  };
  return all;
}

}  // namespace

TEST_CASE("every spec that cannot be is refused with its code, its reason and a message that names the field") {
  for (const Row& row : rows()) {
    CAPTURE(row.what);
    sandforge_sandbox_spec spec = small_spec("conf-refused");
    row.spoil(spec);
    sandforge_sandbox* sandbox = nullptr;
    Failure failure;
    CHECK(sandforge_sandbox_create(engine(), &spec, &sandbox, failure.slot()) == row.code);
    CHECK(failure.reason() == row.reason);
    CAPTURE(failure.message());
    CHECK(failure.message().find(row.in_message) != std::string::npos);
    if (row.code == SANDFORGE_UNSUPPORTED || row.code == SANDFORGE_DENIED) CHECK_FALSE(failure.remedy().empty());
    CHECK(sandbox == nullptr);
  }
  sandforge_sandbox* none = nullptr;
  CHECK(sandforge_sandbox_open(engine(), "conf-refused", &none, nullptr) == SANDFORGE_NOT_FOUND);
}

TEST_CASE("an id of 128 characters is taken, one of 129 is not") {
  sandforge_sandbox_spec spec = small_spec();
  const std::string longest(128, 'x');
  spec.id = longest.c_str();
  { const Guest guest(spec); }
  const std::string too_long(129, 'x');
  spec.id = too_long.c_str();
  sandforge_sandbox* sandbox = nullptr;
  CHECK(sandforge_sandbox_create(engine(), &spec, &sandbox, nullptr) == SANDFORGE_INVALID_ARGUMENT);
}
