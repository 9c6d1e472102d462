// SPDX-License-Identifier: Apache-2.0
// The mount routes: directories of the host that come and go while a sandbox runs.
#include "server/json_in.hpp"
#include "server/json_out.hpp"
#include "server/routes.hpp"
#include "server/url.hpp"

namespace sandforge::server {
namespace {

void write_mount(JsonWriter& json, const MountInfo& mount) {
  json.begin_object()
      .field("host_path", mount.host_path)
      .field("guest_path", mount.guest_path)
      .field("read_only", mount.read_only);
  if (!mount.failure.empty()) json.field("failure", mount.failure);
  json.end_object();
}

}  // namespace

Answer list_mounts(Context& context, Exchange&, const std::string& id) {
  JsonWriter json;
  json.begin_object().key("mounts").begin_array();
  for (const MountInfo& mount : open_live(context, id).mounts()) write_mount(json, mount);
  json.end_array().end_object();
  return json_reply(json);
}

Answer add_mount(Context& context, Exchange& exchange, const std::string& id) {
  const Mount mount = read_mount_body(exchange.request().body);
  open_live(context, id).mount(mount);
  JsonWriter json;
  write_mount(json, {mount.host_path, mount.guest_path, mount.read_only, {}});
  Reply reply = json_reply(json);
  reply.status = 201;
  return reply;
}

Answer remove_mount(Context& context, Exchange& exchange, const std::string& id) {
  const Query query(exchange.request().query);
  const std::string* path = query.find("guest_path");
  if (path == nullptr) {
    throw InvalidArgument("guest_path_required", "guest_path query param is required",
                          "GET /v1/sandboxes/{id}/mounts lists them");
  }
  open_live(context, id).unmount(*path);
  Reply reply;
  reply.status = 204;
  return reply;
}

}  // namespace sandforge::server
