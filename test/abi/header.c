/* SPDX-License-Identifier: Apache-2.0 */
/* sandforge.h alone, as C11 and (the same text) as C++20: it compiles without warnings, its macros work, and no struct
 * has changed its size or moved a member on a 64-bit host. A struct that grows at its end gets a new number here. */
#include <sandforge/sandforge.h>

#ifdef __cplusplus
#define CHECK(condition) static_assert(condition, #condition)
#else
#define CHECK(condition) _Static_assert(condition, #condition)
#endif

#if UINTPTR_MAX == UINT64_MAX
CHECK(sizeof(sandforge_code) == 4);
CHECK(sizeof(sandforge_engine_options) == 104);
CHECK(offsetof(sandforge_engine_options, log_level) == 56);
CHECK(offsetof(sandforge_engine_options, protected_path_count) == 96);
CHECK(sizeof(sandforge_policy_setting) == 32);
CHECK(sizeof(sandforge_policy_verdict) == 56);
CHECK(sizeof(sandforge_backend_info) == 48);
CHECK(sizeof(sandforge_backend_list) == 24);
CHECK(sizeof(sandforge_check) == 40);
CHECK(sizeof(sandforge_limit) == 16);
CHECK(sizeof(sandforge_mount) == 24);
CHECK(sizeof(sandforge_sandbox_spec) == 96);
CHECK(offsetof(sandforge_sandbox_spec, mount_count) == 88);
CHECK(sizeof(sandforge_sandbox_info) == 152);
CHECK(offsetof(sandforge_sandbox_info, failure_reason) == 144);
CHECK(sizeof(sandforge_exec_spec) == 112);
CHECK(offsetof(sandforge_exec_spec, pids_max) == 104);
CHECK(sizeof(sandforge_exec_result) == 104);
CHECK(sizeof(sandforge_file_info) == 72);
CHECK(sizeof(sandforge_buffer) == 24);
CHECK(sizeof(sandforge_image_info) == 80);
CHECK(sizeof(sandforge_image_options) == 48);
#endif

int main(void) {
  sandforge_engine_options options = SANDFORGE_ENGINE_OPTIONS_INIT;
  sandforge_sandbox_spec spec = SANDFORGE_SANDBOX_SPEC_INIT;
  sandforge_exec_spec exec = SANDFORGE_EXEC_SPEC_INIT;
  sandforge_image_options image = SANDFORGE_IMAGE_OPTIONS_INIT;
  return options.size == sizeof options && spec.size == sizeof spec && exec.size == sizeof exec &&
                 image.size == sizeof image && sandforge_version()[0] != '\0'
             ? 0
             : 1;
}
