// SPDX-License-Identifier: Apache-2.0
// The whole life of a sandbox in C++. Usage: quickstart-cpp [BACKEND]
#include <sandforge/sandforge.hpp>

#include <iostream>

int main(int argc, char** argv) {
  try {
    sandforge::Engine engine;
    sandforge::SandboxSpec spec;
    if (argc > 1) spec.backend = argv[1];
    auto sandbox = sandforge::Sandbox::create(engine, spec);
    const auto info = sandbox.info();
    std::cout << info.id << " is " << name_of(info.state) << " on " << info.backend << " (" << name_of(info.isolation)
              << ")\n";

    const auto result = sandbox.exec({.argv = {"echo", "Hello, Sandforge!"}});
    std::cout << result.stdout_data;
    sandbox.destroy();
    return result.exit_code;
  } catch (const sandforge::Error& error) {
    std::cerr << error.what() << "\n" << error.remedy() << "\n";
    return 1;
  }
}
