// SPDX-License-Identifier: Apache-2.0
// The table of routes, and what a route may use.
#pragma once

#include <sandforge/sandbox.hpp>

#include <functional>
#include <span>
#include <string>

#include "server/caps.hpp"
#include "server/message.hpp"

namespace sandforge::server {

class JsonWriter;

// Which workers a route runs on.
enum class Lane {
  Quick,    // answers at once or goes on as Deferred
  Files,    // may wait for a guest; at most a few at once for one sandbox
  Destroy,  // waits for the end of a guest
};

// Made by the server, outlives every route.
struct Context {
  const Engine* engine = nullptr;
  Limits limits;
  std::function<void(Sandbox)> destroy_later;  // any thread; ends the sandbox on a worker
};

// Worker thread. May throw sandforge::Error.
using Handler = Answer (*)(Context& context, Exchange& exchange, const std::string& id);

struct Route {
  const char* method;
  const char* pattern;  // a regular expression with at most one group: the id
  Lane lane;
  Handler handler;
  bool reads_body = false;  // takes its body by Exchange::read_body, of any length
};
std::span<const Route> routes();

// Opens a sandbox that is not destroyed; NotFound otherwise, with the reason of its end.
Sandbox open_live(const Context& context, const std::string& id);
// 200 with what was written.
Reply json_reply(JsonWriter& json);

// One file each.
Answer create_sandbox(Context& context, Exchange& exchange, const std::string& id);
Answer exec_command(Context& context, Exchange& exchange, const std::string& id);
Answer list_files(Context& context, Exchange& exchange, const std::string& id);
Answer stat_file(Context& context, Exchange& exchange, const std::string& id);
Answer read_file(Context& context, Exchange& exchange, const std::string& id);
Answer write_file(Context& context, Exchange& exchange, const std::string& id);
Answer remove_file(Context& context, Exchange& exchange, const std::string& id);
Answer make_directory(Context& context, Exchange& exchange, const std::string& id);
Answer list_mounts(Context& context, Exchange& exchange, const std::string& id);
Answer add_mount(Context& context, Exchange& exchange, const std::string& id);
Answer remove_mount(Context& context, Exchange& exchange, const std::string& id);
Answer move_file(Context& context, Exchange& exchange, const std::string& id);
Answer download_file(Context& context, Exchange& exchange, const std::string& id);
Answer upload_file(Context& context, Exchange& exchange, const std::string& id);

void write_info(JsonWriter& json, const SandboxInfo& info);

}  // namespace sandforge::server
