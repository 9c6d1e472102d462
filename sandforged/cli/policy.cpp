// SPDX-License-Identifier: Apache-2.0
// sandforged policy: checks a policy file, and explains what a policy says of a spec.
#include <sandforge/sandbox.hpp>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <memory>

#include "cli/commands.hpp"
#include "server/json_in.hpp"

namespace sandforge::cli {
namespace {

constexpr const char* kHelp = R"(usage: sandforged policy check [FILE] [flags]
       sandforged policy explain SPEC.json [flags]

check reads a policy file and prints every value of the policy with where it
comes from: a line of the file, or what is built in. Without FILE it takes the
one that "sandforged serve" would.

explain says what a create with this spec would be told, part by part: the
verdict, the rule that decided, the reason, and what to do about a refusal.
SPEC.json ("-": standard input) is the body of POST /v1/sandboxes, or only its
"spec". Makes nothing.

  --policy FILE          the policy file
  --audience WHO         who can ask for sandboxes: library, loopback (default)
                         or remote; what is built in differs
  --state-dir DIR, --image-dir DIR, --helper-dir DIR
                         as for serve; no mount may reach them

Exit status: 0 valid or allowed, 1 refused by the policy, 2 the policy file, the
spec or the command line makes no sense.
)";

constexpr int kAllowed = 0, kDenied = 1, kBadInput = 2;
constexpr std::size_t kSpecMax = std::size_t{1} << 20;

Audience parse_audience(const std::string& text) {
  if (text == "library") return Audience::Library;
  if (text == "loopback") return Audience::Loopback;
  if (text == "remote") return Audience::Remote;
  throw UsageError("unknown audience '" + text + "': use library, loopback or remote");
}

std::string read_spec_file(const std::string& path) {
  struct Closer {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  const bool is_input = path == "-";
  const std::unique_ptr<std::FILE, Closer> opened(is_input ? nullptr : std::fopen(path.c_str(), "re"));
  std::FILE* file = is_input ? stdin : opened.get();
  if (file == nullptr) {
    throw NotFound("spec_missing", "cannot read " + path + ": " + std::strerror(errno), "name a readable file", errno);
  }
  std::string text(kSpecMax + 1, '\0');
  errno = 0;
  text.resize(std::fread(text.data(), 1, text.size(), file));
  if (std::ferror(file) != 0) {
    throw InvalidArgument("spec_unreadable", "cannot read " + path + ": " + std::strerror(errno), {}, errno);
  }
  if (text.size() > kSpecMax) throw InvalidArgument("spec_too_large", path + " has more than 1 MiB");
  return text;
}

// One line a value, in columns.
int print_policy(const EngineOptions& options) {
  const std::vector<PolicySetting> settings = Engine::check_policy(options);
  std::size_t width = 0;
  for (const PolicySetting& setting : settings) width = std::max(width, setting.key.size());
  std::string text;
  for (const PolicySetting& setting : settings) {
    text += setting.key + std::string(width - setting.key.size(), ' ') + " = " + setting.value + "  # " +
            setting.origin + "\n";
  }
  return print(text) ? kAllowed : kDenied;
}

int print_verdicts(const EngineOptions& options, const std::string& file) {
  std::string json = read_spec_file(file);
  const SandboxSpec spec = server::read_spec_text(json);
  std::string text;
  int status = kAllowed;
  for (const PolicyVerdict& verdict : explain_policy(options, spec)) {
    const bool denied = verdict.code == SANDFORGE_DENIED;
    const char* word = verdict.allowed ? "allowed" : denied ? "DENIED " : "INVALID";
    text += std::string(word) + "  " + verdict.part + ": " + verdict.reason + " [" + verdict.rule + "]\n";
    if (!verdict.remedy.empty()) text += "         remedy: " + verdict.remedy + "\n";
    if (!verdict.allowed) status = std::max(status, denied ? kDenied : kBadInput);
  }
  return print(text) ? status : kDenied;
}

}  // namespace

int policy(const Words& words) {
  std::vector<Flag> flags = engine_flags();
  flags.push_back({"--audience"});
  const Args args(words, flags, Args::Stop::Never);
  if (args.help()) return print(kHelp) ? 0 : 1;
  const Words& rest = args.rest();
  const bool check = !rest.empty() && rest[0] == "check";
  const bool explain = !rest.empty() && rest[0] == "explain";
  if (!check && !explain) throw UsageError("policy: say check or explain");
  if (explain && rest.size() < 2) throw UsageError("policy explain: no spec given");
  if (rest.size() > 2) throw UsageError("unexpected argument '" + rest[2] + "'");
  if (check && rest.size() == 2 && args.has("--policy")) throw UsageError("policy check: two policy files given");
  EngineOptions options = engine_options(args);
  options.audience = parse_audience(args.text("--audience", "loopback"));
  if (check && rest.size() == 2) options.policy_file = rest[1];
  try {
    return check ? print_policy(options) : print_verdicts(options, rest[1]);
  } catch (const Error& error) {
    print_error(error);
    return kBadInput;
  }
}

}  // namespace sandforge::cli
