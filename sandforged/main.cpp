// SPDX-License-Identifier: Apache-2.0
// sandforged: picks the subcommand and prints what it throws. Exit status: the command's own; 1 error, 2 usage.
#include <sandforge/error.hpp>

#include <exception>
#include <string>
#include <vector>

#include "cli/commands.hpp"

namespace sandforge::cli {
namespace {

constexpr const char* kHelp = R"(usage: sandforged [COMMAND] [flags]

  serve     answer the HTTP API (the default)
  run       run one command in a sandbox of its own
  image     build, import, list, inspect and remove guest images
  policy    check a policy file, explain what it says of a spec
  doctor    what this host can do, and what to do about the rest
  version   print the version of the library

sandforged COMMAND --help tells the flags of each.
)";

struct Command {
  const char* name;
  int (*run)(const Words& words);
};
// "server" is what the original command line calls it.
constexpr Command kCommands[] = {{"serve", serve},   {"server", serve},  {"run", run},         {"image", image},
                                 {"policy", policy}, {"doctor", doctor}, {"version", version}, {"--version", version}};

int dispatch(const Words& words) {
  if (words.empty()) return serve({});
  const std::string& first = words.front();
  for (const Command& command : kCommands) {
    if (first == command.name) return command.run(Words(words.begin() + 1, words.end()));
  }
  if (first == "-h" || first == "--help" || first == "help") return print(kHelp) ? 0 : 1;
  if (first.starts_with("-")) return serve(words);
  throw UsageError("unknown command '" + first + "'");
}

}  // namespace
}  // namespace sandforge::cli

int main(int argc, char** argv) {
  const std::vector<std::string> words(argv + (argc > 0 ? 1 : 0), argv + argc);
  try {
    return sandforge::cli::dispatch(words);
  } catch (const sandforge::cli::UsageError& error) {
    sandforge::cli::print_error(error);
    sandforge::cli::print_error(std::runtime_error("try 'sandforged --help'"));
    return 2;
  } catch (const std::exception& error) {
    sandforge::cli::print_error(error);
    return 1;
  }
}
