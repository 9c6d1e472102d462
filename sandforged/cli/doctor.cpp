// SPDX-License-Identifier: Apache-2.0
// sandforged doctor: what this host can do, and what to do about the rest.
#include <algorithm>

#include "cli/commands.hpp"
#include "cli/selftest.hpp"

namespace sandforge::cli {
namespace {

constexpr const char* kHelp = R"(usage: sandforged doctor [flags]

Checks what this host can do, one line each, with a remedy under what could be
better. Changes nothing. Exit status 1 when something stops sandboxes from
working.

  --selftest             then run the conformance suite on every backend that is
                         available and measure some figures (minutes); the
                         report, on standard output, is worth attaching to an
                         issue, above all from a host with KVM

  --state-dir DIR        where records and disks of sandboxes would be
  --image-dir DIR        image store
  --helper-dir DIR       where the guest agent and helpers are
  --policy FILE          what sandboxes may have of this host
  --min-isolation LEVEL  user_kernel, software_vm or hardware_vm
)";

const char* word_of(CheckStatus status) {
  switch (status) {
    case CheckStatus::Fine: return "ok    ";
    case CheckStatus::CouldBeBetter: return "better";
    default: return "STOPS ";
  }
}

}  // namespace

int doctor(const Words& words) {
  std::vector<Flag> flags = engine_flags();
  flags.push_back({"--selftest", false});
  const Args args(words, flags, Args::Stop::Never);
  if (args.help()) return print(kHelp) ? 0 : 1;
  if (!args.rest().empty()) throw UsageError("unexpected argument '" + args.rest().front() + "'");
  const EngineOptions options = engine_options(args);
  const std::vector<Check> checks = Engine::doctor(options);
  std::size_t width = 0;
  for (const Check& check : checks) width = std::max(width, check.name.size());
  std::string text;
  bool stops = false;
  for (const Check& check : checks) {
    stops = stops || check.status == CheckStatus::StopsSandboxes;
    text += std::string(word_of(check.status)) + "  " + check.name + std::string(width - check.name.size() + 2, ' ') +
            check.detail + "\n";
    if (!check.remedy.empty()) text += "        remedy: " + check.remedy + "\n";
  }
  text += stops ? "Sandboxes cannot work on this host yet.\n" : "Sandboxes can work on this host.\n";
  if (!print(text) || stops) return 1;
  return !args.has("--selftest") || selftest(options) ? 0 : 1;
}

}  // namespace sandforge::cli
