// SPDX-License-Identifier: Apache-2.0
// sandforged serve: the HTTP daemon.
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
  --min-isolation LEVEL         user_kernel, software_vm or hardware_vm
  --log-level LEVEL             error, warn, info (default) or debug
)";

}  // namespace

int serve(const Words& words) {
  std::vector<Flag> flags = engine_flags();
  flags.insert(flags.end(), {{"--listen", true, "--addr"}, {"--token-file"}, {"--max-sandboxes"}, {"--log-level"}});
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
  options.log_level = parse_log_level(args.text("--log-level", "info"));
  return server::serve(options);
}

}  // namespace sandforge::cli
