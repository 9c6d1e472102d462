// SPDX-License-Identifier: Apache-2.0
// Sandboxes of the C ABI.
#include "capi/abi_check.hpp"
#include "capi/guard.hpp"
#include "capi/handles.hpp"

#include "base/limits.hpp"

namespace sandforge::capi {
namespace {

struct OwnedInfo : Owned<sandforge_sandbox_info> {
  engine::SandboxInfo info;

  explicit OwnedInfo(engine::SandboxInfo value) : info(std::move(value)) {
    id = info.spec.id.c_str();
    state = static_cast<sandforge_state>(info.state);
    backend = info.spec.backend.c_str();
    isolation = static_cast<sandforge_isolation>(info.isolation);
    image = info.spec.image.c_str();
    image_digest = info.image_digest.c_str();
    cpu = info.spec.cpu;
    memory_mb = info.spec.memory_mb;
    disk_gb = info.spec.disk_gb;
    timeout_sec = info.spec.timeout_sec;
    network_mode = info.spec.network_mode.c_str();
    task_isolation = info.spec.task_isolation.c_str();
    created_at = info.created_at;
    expires_at = info.expires_at;
    ready_after_ns = info.ready_after_ns;
    guest_hello_ns = info.guest_hello_ns;
    failure = info.failure.c_str();
    failure_reason = info.failure_reason.c_str();
  }
};
using OwnedInfos = OwnedList<sandforge_sandbox_list, OwnedInfo>;

struct OwnedMount : Owned<sandforge_mount_info> {
  engine::MountInfo info;

  explicit OwnedMount(engine::MountInfo value) : info(std::move(value)) {
    host_path = info.mount.host_path.c_str();
    guest_path = info.mount.guest_path.c_str();
    read_only = info.mount.read_only ? 1 : 0;
    failure = info.failure.c_str();
  }
};
using OwnedMounts = OwnedList<sandforge_mount_list, OwnedMount>;

base::Status begin_create(sandforge_engine* engine, const sandforge_sandbox_spec* given,
                          std::shared_ptr<engine::Notifier> notifier, std::unique_ptr<sandforge_sandbox>& handle) {
  SANDFORGE_TRY(auto spec, spec_of(given));
  handle = std::make_unique<sandforge_sandbox>();
  handle->notifier = notifier;
  SANDFORGE_TRY(handle->sandbox, engine->engine->create_sandbox(std::move(spec), std::move(notifier)));
  return {};
}

}  // namespace

base::Result<engine::SandboxSpec> spec_of(const sandforge_sandbox_spec* given) {
  SANDFORGE_TRY(const sandforge_sandbox_spec spec, read_struct(given, "sandforge_sandbox_spec"));
  engine::SandboxSpec result;
  result.id = text_of(spec.id);
  result.backend = text_of(spec.backend);
  result.image = text_of(spec.image);
  result.cpu = spec.cpu;
  result.memory_mb = spec.memory_mb;
  result.disk_gb = spec.disk_gb;
  result.timeout_sec = spec.timeout_sec;
  result.network_mode = text_of(spec.network_mode);
  result.task_isolation = text_of(spec.task_isolation);
  if (spec.mount_count > limits::kMountsMax || (spec.mount_count > 0 && spec.mounts == nullptr)) {
    return base::make_error(base::Code::InvalidArgument, "invalid_spec",
                            "spec: mount_count is " + std::to_string(spec.mount_count) + ", but must be 0 to " +
                                std::to_string(limits::kMountsMax) + ", with mounts to match");
  }
  for (std::size_t i = 0; i < spec.mount_count; ++i) {
    const sandforge_mount& mount = spec.mounts[i];
    result.mounts.push_back({text_of(mount.host_path), text_of(mount.guest_path), mount.read_only != 0});
  }
  return result;
}

}  // namespace sandforge::capi

using namespace sandforge::capi;
namespace base = sandforge::base;
using sandforge::engine::Notifier;

extern "C" {

sandforge_code sandforge_sandbox_create(sandforge_engine* engine, const sandforge_sandbox_spec* spec,
                                        sandforge_sandbox** sandbox, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_TRY_STATUS(engine->engine->core()->may_block());
    std::unique_ptr<sandforge_sandbox> handle;
    SANDFORGE_TRY_STATUS(begin_create(engine, spec, nullptr, handle));
    SANDFORGE_TRY_STATUS(handle->sandbox->wait_created(-1));
    *sandbox = handle.release();
    return {};
  });
}

sandforge_code sandforge_sandbox_create_begin(sandforge_engine* engine, const sandforge_sandbox_spec* spec,
                                              sandforge_notify_fn notify, void* user_data, sandforge_sandbox** sandbox,
                                              sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_NEEDS(sandbox);
    std::shared_ptr<Notifier> notifier;
    if (notify != nullptr) notifier = std::make_shared<Notifier>(notify, user_data);
    std::unique_ptr<sandforge_sandbox> handle;
    SANDFORGE_TRY_STATUS(begin_create(engine, spec, std::move(notifier), handle));
    *sandbox = handle.release();
    return {};
  });
}

sandforge_code sandforge_sandbox_wait(sandforge_sandbox* sandbox, int64_t timeout_ms, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    return sandbox->sandbox->wait_created(timeout_ms);
  });
}

sandforge_code sandforge_sandbox_open(sandforge_engine* engine, const char* id, sandforge_sandbox** sandbox,
                                      sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_NEEDS(id);
    SANDFORGE_NEEDS(sandbox);
    auto handle = std::make_unique<sandforge_sandbox>();
    SANDFORGE_TRY(handle->sandbox, engine->engine->find(id));
    *sandbox = handle.release();
    return {};
  });
}

sandforge_code sandforge_sandbox_destroy(sandforge_sandbox* sandbox, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    return sandbox->sandbox->destroy();
  });
}

void sandforge_sandbox_free(sandforge_sandbox* sandbox) {
  if (sandbox == nullptr) return;
  if (sandbox->notifier) sandbox->notifier->silence();
  delete sandbox;
}

const char* sandforge_sandbox_id(const sandforge_sandbox* sandbox) {
  return sandbox == nullptr ? "" : sandbox->sandbox->id().c_str();
}

sandforge_code sandforge_sandbox_get_info(sandforge_sandbox* sandbox, sandforge_sandbox_info** info,
                                          sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(info);
    if (sandbox->sandbox->core()->closed()) return sandforge::engine::Core::closed_error();
    *info = std::make_unique<OwnedInfo>(sandbox->sandbox->info()).release();
    return {};
  });
}
void sandforge_sandbox_info_free(sandforge_sandbox_info* info) { delete static_cast<OwnedInfo*>(info); }

sandforge_code sandforge_engine_list(sandforge_engine* engine, sandforge_sandbox_list** list, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(engine);
    SANDFORGE_NEEDS(list);
    auto result = std::make_unique<OwnedInfos>();
    for (auto& info : engine->engine->list()) result->owned.push_back(std::make_unique<OwnedInfo>(std::move(info)));
    result->seal();
    *list = result.release();
    return {};
  });
}
void sandforge_sandbox_list_free(sandforge_sandbox_list* list) { delete static_cast<OwnedInfos*>(list); }

sandforge_code sandforge_sandbox_mount(sandforge_sandbox* sandbox, const sandforge_mount* mount,
                                       sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(mount);
    return sandbox->sandbox->attach_mount(
        {text_of(mount->host_path), text_of(mount->guest_path), mount->read_only != 0});
  });
}

sandforge_code sandforge_sandbox_unmount(sandforge_sandbox* sandbox, const char* guest_path, sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(guest_path);
    return sandbox->sandbox->detach_mount(guest_path);
  });
}

sandforge_code sandforge_sandbox_mounts(sandforge_sandbox* sandbox, sandforge_mount_list** list,
                                        sandforge_error** error) {
  return guard(error, [&]() -> base::Status {
    SANDFORGE_NEEDS(sandbox);
    SANDFORGE_NEEDS(list);
    auto mounts = std::make_unique<OwnedMounts>();
    for (auto& info : sandbox->sandbox->mounts()) {
      mounts->owned.push_back(std::make_unique<OwnedMount>(std::move(info)));
    }
    mounts->seal();
    *list = mounts.release();
    return {};
  });
}

void sandforge_mount_list_free(sandforge_mount_list* list) { delete static_cast<OwnedMounts*>(list); }

}  // extern "C"
