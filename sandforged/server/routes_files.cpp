// SPDX-License-Identifier: Apache-2.0
// The file plane. Worker threads; each call waits for the guest, with the library's stall limit.
#include <sys/stat.h>
#include <sandforge/files.hpp>

#include <charconv>
#include <utility>
#include <vector>

#include "server/caps.hpp"
#include "server/json_in.hpp"
#include "server/json_out.hpp"
#include "server/routes.hpp"
#include "server/url.hpp"

namespace sandforge::server {
namespace {

constexpr std::size_t kStreamStep = 256 * caps::kKiB;

// SPEC: type fs.FileMode of Go's io/fs: what the original API's clients decode.
std::uint64_t go_mode(std::uint32_t mode) {
  std::uint64_t out = mode & 0777U;
  if (S_ISDIR(mode)) out |= 1ULL << 31;
  if (S_ISLNK(mode)) out |= 1ULL << 27;
  if (S_ISBLK(mode) || S_ISCHR(mode)) out |= 1ULL << 26;
  if (S_ISFIFO(mode)) out |= 1ULL << 25;
  if (S_ISSOCK(mode)) out |= 1ULL << 24;
  if ((mode & S_ISUID) != 0) out |= 1ULL << 23;
  if ((mode & S_ISGID) != 0) out |= 1ULL << 22;
  if (S_ISCHR(mode)) out |= 1ULL << 21;
  if ((mode & S_ISVTX) != 0) out |= 1ULL << 20;
  return out;
}

void write_entry(JsonWriter& json, const FileInfo& info) {
  json.begin_object()
      .field("name", info.name)
      .field("path", info.path)
      .field("size", info.length)
      .field("mode", go_mode(info.mode))
      .field("posix_mode", info.mode)
      .field("is_dir", S_ISDIR(info.mode))
      .field("isDir", S_ISDIR(info.mode))
      .field("mod_time", info.modified_at)
      .field("modTime", info.modified_at)
      .field("uid", info.uid)
      .field("gid", info.gid);
  if (!info.link_target.empty()) json.field("link_target", info.link_target);
  json.end_object();
}

bool can_hold_files(State state) {
  return state == State::Ready || state == State::Executing || state == State::Interactive ||
         state == State::WritingFile || state == State::CopyingArtifacts;
}

// An error about a guest file is the file's (422), not the sandbox's (404, 409), unless the sandbox is the cause.
Reply file_error(const Error& error, const Sandbox& sandbox) {
  Reply reply = error_reply(error);
  const bool about_file = error.code() == SANDFORGE_NOT_FOUND || error.code() == SANDFORGE_CONFLICT;
  if (about_file || error.code() == SANDFORGE_DISCONNECTED) {
    const State state = sandbox.info().state;
    if (state == State::Destroyed || state == State::Destroying) {
      return error_reply(404, "sandbox_destroyed", "sandbox not found: it was destroyed", "create a new sandbox");
    }
    if (about_file) reply.status = can_hold_files(state) ? 422 : 409;
  }
  return reply;
}

// Opens the sandbox, runs `body` on its files and answers its errors.
template <typename Body>
Reply with_files(const Context& context, const std::string& id, Body&& body) {
  const Sandbox sandbox = open_live(context, id);
  try {
    return body(sandbox.files());
  } catch (const Error& error) {
    return file_error(error, sandbox);
  }
}

std::string path_param(Exchange& exchange) {
  const Query query(exchange.request().query);
  const std::string* path = query.find("path");
  if (path == nullptr || path->empty()) {
    throw InvalidArgument("path_required", "path query param is required", "add ?path=/absolute/guest/path");
  }
  return *path;
}

void require_path(const std::string& path, const char* name) {
  if (path.empty()) throw InvalidArgument("path_required", std::string(name) + " is required");
}

Reply size_reply(std::uint64_t size) {
  JsonWriter json;
  json.begin_object().field("size", size).end_object();
  return json_reply(json);
}

Reply ok_reply() {
  Reply reply;
  reply.status = 204;
  return reply;
}

bool wants_raw(const Exchange&, const Head& head) {
  const std::string* accept = head.find("accept");
  return accept != nullptr && accept->find("application/octet-stream") != std::string::npos;
}

std::uint32_t mode_param(const Query& query) {
  const std::string* text = query.find("mode");
  std::uint32_t mode = 0;
  if (text == nullptr || text->empty()) return 0;
  const auto result = std::from_chars(text->data(), text->data() + text->size(), mode, 8);
  if (result.ec != std::errc() || result.ptr != text->data() + text->size() || mode > 07777) {
    throw InvalidArgument("invalid_mode", "mode must be an octal number of at most 7777", "e.g. ?mode=0755");
  }
  return mode;
}

}  // namespace

Answer list_files(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    JsonWriter json;
    json.begin_object().key("entries").begin_array();
    for (const FileInfo& info : files.list(path_param(exchange))) write_entry(json, info);
    json.end_array().end_object();
    return json_reply(json);
  });
}

Answer stat_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    JsonWriter json;
    write_entry(json, files.stat(path_param(exchange)));
    return json_reply(json);
  });
}

Answer read_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    const std::string path = path_param(exchange);
    std::string data;
    try {
      data = files.read(path, context.limits.files_read_bytes);
    } catch (const Exhausted& error) {
      if (error.reason() != "too_large") throw;
      return error_reply(
          413, "too_large",
          "the file is larger than files/read gives at once (" + in_mib(context.limits.files_read_bytes) + ")",
          "read it with GET /v1/sandboxes/{id}/files/content?path=");
    }
    if (wants_raw(exchange, exchange.request().head)) {
      Reply reply;
      reply.content_type = "application/octet-stream";
      reply.body = std::move(data);
      return reply;
    }
    const Query query(exchange.request().query);
    const std::string* encoding = query.find("encoding");
    JsonWriter json;
    json.begin_object().key("data");
    if (encoding != nullptr && *encoding == "base64") {
      json.base64(data);
    } else {
      json.byte_array(data);
    }
    json.end_object();
    return json_reply(json);
  });
}

Answer write_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    const WriteBody body = read_write_body(exchange.request().body);
    require_path(body.path, "guest_path");
    files.write(body.path, body.data, body.mode);
    return size_reply(body.data.size());
  });
}

Answer remove_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    files.remove(path_param(exchange), Query(exchange.request().query).flag("recursive"));
    return ok_reply();
  });
}

Answer make_directory(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    const MkdirBody body = read_mkdir_body(exchange.request().body);
    require_path(body.path, "path");
    files.mkdir(body.path, body.mode, body.parents);
    return ok_reply();
  });
}

Answer move_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    const MoveBody body = read_move_body(exchange.request().body);
    require_path(body.from, "from");
    require_path(body.to, "to");
    files.rename(body.from, body.to);
    return ok_reply();
  });
}

Answer download_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    const std::string path = path_param(exchange);
    Reply reply;
    reply.content_type = "application/octet-stream";
    auto reader = std::make_shared<FileReader>(files.open_read(path));
    const FileInfo info = reader->info();
    if (info.length == 0) {  // empty, or of the kind that tells its size only when read (/proc)
      reply.body = files.read(path, context.limits.files_read_bytes);
      return reply;
    }
    reply.source = ReplySource{info.length,
                               [reader](char* buffer, std::size_t capacity) { return reader->read(buffer, capacity); }};
    return reply;
  });
}

Answer upload_file(Context& context, Exchange& exchange, const std::string& id) {
  return with_files(context, id, [&](const Files& files) {
    const std::string path = path_param(exchange);
    FileWriter writer = files.open_write(path, mode_param(Query(exchange.request().query)));
    std::vector<char> buffer(kStreamStep);
    std::uint64_t size = 0;
    while (const std::size_t count = exchange.read_body(buffer.data(), buffer.size())) {
      writer.write(std::string_view(buffer.data(), count));
      size += count;
    }
    writer.finish();
    return size_reply(size);
  });
}

}  // namespace sandforge::server
