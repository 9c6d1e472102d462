// SPDX-License-Identifier: Apache-2.0
// Commands with environment, directory, input and a time limit; every ending is a result. Usage: exec [BACKEND]
#include <sandforge/sandforge.hpp>

#include <iostream>

namespace {

void show(const char* what, const sandforge::ExecResult& result) {
  std::cout << what << ": exit code " << result.exit_code << ", ended by " << name_of(result.ended_by) << "\n"
            << result.stdout_data << result.stderr_data;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    sandforge::Engine engine;
    sandforge::SandboxSpec spec;
    if (argc > 1) spec.backend = argv[1];
    auto sandbox = sandforge::Sandbox::create(engine, spec);

    sandforge::ExecSpec greeting;
    greeting.argv = {"sh", "-c", "echo $GREETING from $PWD"};
    greeting.env = {{"GREETING", "hello"}};
    greeting.cwd = "/tmp";
    show("environment", sandbox.exec(greeting));

    sandforge::ExecSpec input;
    input.argv = {"cat"};
    input.stdin_data = "what goes in comes out\n";
    show("input", sandbox.exec(input));

    show("failure", sandbox.exec({.argv = {"false"}}));
    show("not found", sandbox.exec({.argv = {"no-such-program"}}));

    sandforge::ExecSpec slow;
    slow.argv = {"sleep", "60"};
    slow.timeout = std::chrono::milliseconds(500);
    show("too slow", sandbox.exec(slow));
    return 0;
  } catch (const sandforge::Error& error) {
    std::cerr << error.what() << "\n" << error.remedy() << "\n";
    return 1;
  }
}
