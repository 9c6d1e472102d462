// SPDX-License-Identifier: Apache-2.0
// The table, and the routes that need no file of their own.
#include "server/routes.hpp"

#include <array>

#include "server/caps.hpp"
#include "server/json_out.hpp"
#include "server/url.hpp"

namespace sandforge::server {
namespace {

Answer health(Context&, Exchange&, const std::string&) {
  Reply reply;
  reply.body = "{\"status\":\"ok\"}\n";
  return reply;
}

void write_backends(JsonWriter& json, const Engine& engine) {
  json.key("backends").begin_array();
  for (const BackendInfo& backend : engine.backends()) {
    json.begin_object()
        .field("name", backend.name)
        .field("isolation", name_of(backend.isolation))
        .field("available", backend.available)
        .field("detail", backend.detail)
        .field("reason", backend.reason)
        .field("remedy", backend.remedy)
        .end_object();
  }
  json.end_array();
}

// Not the lists of directories: they tell about the host, and callers may be anybody.
void write_policy(JsonWriter& json, const Engine& engine) {
  json.key("policy").begin_object();
  for (const PolicySetting& setting : engine.policy()) {
    const bool is_list_of_directories = setting.key == "mounts.allow" || setting.key == "mounts.block" ||
                                        setting.key == "mounts.allow_read_only" ||
                                        setting.key == "mounts.allow_credentials";
    if (!is_list_of_directories) json.field(setting.key, setting.value);
  }
  json.end_object();
}

Answer describe_server(Context& context, Exchange&, const std::string&) {
  JsonWriter json;
  json.begin_object().field("version", library_version());
  write_backends(json, *context.engine);
  write_policy(json, *context.engine);
  json.key("limits").begin_object();
  for (const Limit& limit : Engine::limits()) json.field(limit.name, limit.value);
  json.field("http_body_bytes_max", context.limits.body_bytes)
      .field("http_head_bytes_max", caps::kHeadBytes)
      .field("http_files_read_bytes_max", context.limits.files_read_bytes)
      .field("http_exec_stream_bytes_max", context.limits.exec_stream_bytes)
      .field("http_connections_max", context.limits.connections)
      .end_object()
      .end_object();
  return json_reply(json);
}

Answer list_sandboxes(Context& context, Exchange& exchange, const std::string&) {
  const Query query(exchange.request().query);
  const std::string* state = query.find("state");
  JsonWriter json;
  json.begin_object().key("sandboxes").begin_array();
  for (const SandboxInfo& info : context.engine->list()) {
    if (state == nullptr || state->empty() || *state == name_of(info.state)) write_info(json, info);
  }
  json.end_array().end_object();
  return json_reply(json);
}

Sandbox open_any(const Context& context, const std::string& id) {
  try {
    return Sandbox::open(*context.engine, id);
  } catch (const NotFound&) {
    throw NotFound("sandbox_not_found", "sandbox not found", "GET /v1/sandboxes lists the sandboxes that there are");
  }
}

Answer get_sandbox(Context& context, Exchange&, const std::string& id) {
  JsonWriter json;
  write_info(json, open_any(context, id).info());
  return json_reply(json);
}

Answer destroy_sandbox(Context& context, Exchange&, const std::string& id) {
  open_any(context, id).destroy();
  Reply reply;
  reply.status = 204;
  return reply;
}

Answer open_terminal(Context& context, Exchange&, const std::string& id) {
  open_live(context, id);
  throw Unsupported("terminal_unsupported", "this version has no interactive terminals yet",
                    "run commands with POST /v1/sandboxes/{id}/exec");
}

constexpr const char* kOne = "/v1/sandboxes/([^/]+)";
constexpr const char* kFiles = "/v1/sandboxes/([^/]+)/files";
constexpr const char* kMounts = "/v1/sandboxes/([^/]+)/mounts";
constexpr const char* kContent = "/v1/sandboxes/([^/]+)/files/content";

constexpr std::array kRoutes = {
    Route{"GET", "/healthz", Lane::Quick, health},
    Route{"GET", "/v1/info", Lane::Files, describe_server},
    Route{"GET", "/v1/sandboxes", Lane::Quick, list_sandboxes},
    Route{"POST", "/v1/sandboxes", Lane::Quick, create_sandbox},
    Route{"GET", kOne, Lane::Quick, get_sandbox},
    Route{"DELETE", kOne, Lane::Destroy, destroy_sandbox},
    Route{"POST", "/v1/sandboxes/([^/]+)/exec", Lane::Quick, exec_command},
    Route{"GET", "/v1/sandboxes/([^/]+)/pty", Lane::Quick, open_terminal},
    Route{"GET", "/v1/sandboxes/([^/]+)/stat", Lane::Files, stat_file},
    Route{"GET", kFiles, Lane::Files, list_files},
    Route{"PUT", kFiles, Lane::Files, write_file},
    Route{"DELETE", kFiles, Lane::Files, remove_file},
    Route{"GET", "/v1/sandboxes/([^/]+)/files/read", Lane::Files, read_file},
    Route{"POST", "/v1/sandboxes/([^/]+)/files/mkdir", Lane::Files, make_directory},
    Route{"POST", "/v1/sandboxes/([^/]+)/files/move", Lane::Files, move_file},
    Route{"GET", kContent, Lane::Files, download_file},
    Route{"PUT", kContent, Lane::Files, upload_file, true},
    Route{"GET", kMounts, Lane::Quick, list_mounts},
    Route{"POST", kMounts, Lane::Files, add_mount},
    Route{"DELETE", kMounts, Lane::Files, remove_mount},
};

}  // namespace

std::span<const Route> routes() { return kRoutes; }

Sandbox open_live(const Context& context, const std::string& id) {
  Sandbox sandbox = open_any(context, id);
  const SandboxInfo info = sandbox.info();
  if (info.state == State::Destroyed) {
    const std::string why = info.failure.empty() ? "it was destroyed" : "it was destroyed: " + info.failure;
    throw NotFound("sandbox_destroyed", "sandbox not found: " + why, "create a new sandbox");
  }
  return sandbox;
}

Reply json_reply(JsonWriter& json) {
  Reply reply;
  reply.body = json.take();
  return reply;
}

void write_info(JsonWriter& json, const SandboxInfo& info) {
  constexpr std::int64_t kNsPerMs = 1'000'000;
  json.begin_object()
      .field("id", info.id)
      .field("state", name_of(info.state))
      .field("backend", info.backend)
      .field("isolation", name_of(info.isolation))
      .field("image", info.image)
      .field("image_digest", info.image_digest)
      .field("cpu", info.cpu)
      .field("memory_mb", info.memory_mb)
      .field("disk_gb", info.disk_gb)
      .field("timeout_sec", info.timeout_sec)
      .field("network_mode", info.network_mode)
      .field("task_isolation", info.task_isolation)
      .field("created_at", info.created_at)
      .field("expires_at", info.expires_at)
      .field("ready_ms", info.ready_after.count() / kNsPerMs);
  if (!info.failure.empty()) json.field("failure", info.failure).field("failure_reason", info.failure_reason);
  json.end_object();
}

}  // namespace sandforge::server
