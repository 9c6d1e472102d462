// SPDX-License-Identifier: Apache-2.0
// Output as it comes, and input while the command runs. Usage: streaming [BACKEND]
#include <sandforge/sandforge.hpp>

#include <array>
#include <iostream>
#include <string_view>

namespace {

// Reads until the stream says its last word.
void copy_output(sandforge::Process& process) {
  std::array<char, 4096> buffer{};
  for (;;) {
    const auto count = process.read(sandforge::Stream::Stdout, buffer.data(), buffer.size());
    if (!count || *count == 0) return;
    std::cout << std::string_view(buffer.data(), *count) << std::flush;
  }
}

}  // namespace

int main(int argc, char** argv) {
  try {
    sandforge::Engine engine;
    sandforge::SandboxSpec spec;
    if (argc > 1) spec.backend = argv[1];
    auto sandbox = sandforge::Sandbox::create(engine, spec);

    sandforge::ExecSpec command;
    command.argv = {"cat"};
    command.stream_stdin = true;
    auto process = sandbox.start(command);
    for (std::string_view text : {"one\n", "two\n", "three\n"}) {
      while (!text.empty()) text.remove_prefix(process.write(text).value_or(0));
    }
    process.close_stdin();
    copy_output(process);
    const auto result = process.wait();
    std::cout << "exit code " << result->exit_code << ", " << result->stdout_total << " bytes\n";
    return result->exit_code;
  } catch (const sandforge::Error& error) {
    std::cerr << error.what() << "\n" << error.remedy() << "\n";
    return 1;
  }
}
