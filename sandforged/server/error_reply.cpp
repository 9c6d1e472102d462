// SPDX-License-Identifier: Apache-2.0
// How errors become HTTP: one table for every route, and the words of the status line.
#include <cstring>

#include "server/caps.hpp"
#include "server/json_in.hpp"
#include "server/json_out.hpp"
#include "server/message.hpp"

namespace sandforge::server {
namespace {

int status_of(const Error& error) {
  switch (error.code()) {
    case SANDFORGE_INVALID_ARGUMENT:
      return error.reason() == "invalid_spec" || error.reason() == "invalid_host_path" ? 422 : 400;
    case SANDFORGE_UNSUPPORTED: return 422;
    case SANDFORGE_NOT_FOUND: return error.reason() == "host_path_missing" ? 422 : 404;  // 404 is for sandboxes
    case SANDFORGE_DENIED: return 422;
    case SANDFORGE_CONFLICT: return 409;
    case SANDFORGE_BUSY: return 409;
    case SANDFORGE_DISCONNECTED: return 502;
    case SANDFORGE_TIMED_OUT: return error.reason() == "request_timeout" ? 408 : 504;
    case SANDFORGE_EXHAUSTED:
      if (error.reason() == "too_large") return 413;
      return error.reason() == "no_capacity" || error.reason() == "exhausted" ? 503 : 422;
    case SANDFORGE_GUEST_FAULT: return 502;
    default: return 500;
  }
}

}  // namespace

const char* status_text(int status) {
  switch (status) {
    case 100: return "Continue";
    case 200: return "OK";
    case 201: return "Created";
    case 204: return "No Content";
    case 400: return "Bad Request";
    case 401: return "Unauthorized";
    case 403: return "Forbidden";
    case 404: return "Not Found";
    case 405: return "Method Not Allowed";
    case 408: return "Request Timeout";
    case 409: return "Conflict";
    case 413: return "Content Too Large";
    case 414: return "URI Too Long";
    case 417: return "Expectation Failed";
    case 422: return "Unprocessable Content";
    case 429: return "Too Many Requests";
    case 431: return "Request Header Fields Too Large";
    case 500: return "Internal Server Error";
    case 501: return "Not Implemented";
    case 502: return "Bad Gateway";
    case 503: return "Service Unavailable";
    case 504: return "Gateway Timeout";
    case 505: return "HTTP Version Not Supported";
    default: return "Status";
  }
}

Reply error_reply(int status, std::string_view code, std::string_view message, std::string_view remedy) {
  JsonWriter json;
  json.begin_object().field("error", message).field("code", code);
  if (!remedy.empty()) json.field("remediation", remedy);
  json.end_object();
  Reply reply;
  reply.status = status;
  reply.body = json.take();
  if (status == 503 || status == 429) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

Reply error_reply(const Error& error) {
  JsonWriter json;
  json.begin_object().field("error", error.what()).field("code", error.reason());
  if (error.os_errno() != 0) json.field("cause", std::strerror(error.os_errno()));
  if (!error.rule().empty()) json.field("rule", error.rule());
  if (!error.remedy().empty()) json.field("remediation", error.remedy());
  json.end_object();
  Reply reply;
  reply.status = status_of(error);
  reply.body = json.take();
  if (reply.status == 503) reply.headers.emplace_back("Retry-After", "1");
  return reply;
}

std::string format_head(const Reply& reply, const Head& request, bool keep_alive, std::optional<std::uint64_t> length) {
  std::string head = "HTTP/1.1 " + std::to_string(reply.status) + " " + status_text(reply.status) + "\r\n";
  if (reply.status != 204) head += "Content-Type: " + reply.content_type + "\r\n";
  if (length && reply.status != 204) head += "Content-Length: " + std::to_string(*length) + "\r\n";
  for (const auto& [name, value] : reply.headers) head += name + ": " + value + "\r\n";
  if (!keep_alive) {
    head += "Connection: close\r\n";
  } else if (request.minor == 0) {
    head += "Connection: keep-alive\r\n";
  }
  return head + "\r\n";
}

std::string in_mib(std::size_t bytes) { return std::to_string(bytes / caps::kMiB) + " MiB"; }

}  // namespace sandforge::server
