// SPDX-License-Identifier: Apache-2.0
// sandforged serve: the HTTP daemon.
#include <algorithm>

#include "cli/commands.hpp"
#include "server/server.hpp"

namespace sandforge::cli {
namespace {

constexpr const char* kHelp = R"(usage: sandforged [serve] [flags]

Answers the HTTP API until SIGINT or SIGTERM, then destroys its sandboxes.
A second signal ends it at once.

  --listen ADDR:PORT|unix:PATH  where to listen; may be given several times
                                (default 127.0.0.1:8080; port 0: any free one)
  --token-file FILE             one token a line; callers then need
                                "Authorization: Bearer TOKEN" (not on Unix
                                sockets); required to listen beyond loopback
  --state-dir DIR               records and disks of sandboxes
                                (default $SANDFORGE_STATE_DIR, else
                                /var/lib/sandforge for root, else
                                $XDG_STATE_HOME/sandforge)
  --image-dir DIR               image store
  --helper-dir DIR              where the guest agent and helpers are
  --max-sandboxes N             at most so many at once (default 64)
  --max-body MIB                of one JSON request (default 64)
  --max-file-read MIB           of one file by files/read (default 16);
                                files/content has no cap
  --max-output MIB              kept of each output stream of an exec that
                                is not streamed (default 16)
  --max-connections N           at once; more have to wait (default 16384)
  --policy FILE                 what sandboxes may have of this host (default
                                $XDG_CONFIG_HOME/sandforge/policy.toml, not
                                for root, else /etc/sandforge/policy.toml,
                                where there is one); see "sandforged policy"
  --min-isolation LEVEL         user_kernel, software_vm or hardware_vm
  --log-level LEVEL             error, warn, info (default) or debug
)";

// The value of a flag, in `unit`s; `otherwise` where it was not given.
std::size_t limit(const Args& args, std::string_view flag, std::size_t max, std::size_t unit, std::size_t otherwise) {
  if (!args.has(flag)) return otherwise;
  const std::int64_t value = args.number(flag, 0);
  if (value < 1 || static_cast<std::size_t>(value) > max) {
    throw UsageError("flag '" + std::string(flag) + "' takes 1 to " + std::to_string(max));
  }
  return static_cast<std::size_t>(value) * unit;
}

server::Limits limits(const Args& args) {
  using namespace server::caps;
  server::Limits out;
  out.body_bytes = limit(args, "--max-body", kLimitMiBMax, kMiB, out.body_bytes);
  out.body_bytes_total = std::max(out.body_bytes_total, out.body_bytes);
  out.files_read_bytes = limit(args, "--max-file-read", kLimitMiBMax, kMiB, out.files_read_bytes);
  out.exec_stream_bytes = limit(args, "--max-output", kLimitMiBMax, kMiB, out.exec_stream_bytes);
  out.connections = limit(args, "--max-connections", kConnectionsMax, 1, out.connections);
  return out;
}

}  // namespace

int serve(const Words& words) {
  std::vector<Flag> flags = engine_flags();
  flags.insert(flags.end(), {{"--listen", true, "--addr"},
                             {"--token-file"},
                             {"--max-sandboxes"},
                             {"--log-level"},
                             {"--max-body"},
                             {"--max-file-read"},
                             {"--max-output"},
                             {"--max-connections"}});
  const Args args(words, flags, Args::Stop::Never);
  if (args.help()) return print(kHelp) ? 0 : 1;
  if (!args.rest().empty()) throw UsageError("unexpected argument '" + args.rest().front() + "'");
  server::ServeOptions options;
  options.listen = args.all("--listen");
  if (options.listen.empty()) options.listen.emplace_back("127.0.0.1:8080");
  options.token_file = args.text("--token-file");
  options.engine = engine_options(args);
  const std::int64_t max = args.number("--max-sandboxes", 0);
  if (max < 0 || max > 100'000) throw UsageError("flag '--max-sandboxes' is out of range");
  options.engine.max_sandboxes = static_cast<std::uint32_t>(max);
  options.limits = limits(args);
  options.log_level = parse_log_level(args.text("--log-level", "info"));
  return server::serve(options);
}

}  // namespace sandforge::cli
