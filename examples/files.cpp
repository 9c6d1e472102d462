// SPDX-License-Identifier: Apache-2.0
// Files in and out, and a directory listed. Usage: files [BACKEND]
#include <sandforge/sandforge.hpp>

#include <iostream>

int main(int argc, char** argv) {
  try {
    sandforge::Engine engine;
    sandforge::SandboxSpec spec;
    if (argc > 1) spec.backend = argv[1];
    auto sandbox = sandforge::Sandbox::create(engine, spec);
    const auto files = sandbox.files();

    files.write("/work/in/hello.txt", "hello\n");  // missing directories are made
    files.rename("/work/in/hello.txt", "/work/in/greeting.txt");
    std::cout << files.read("/work/in/greeting.txt");

    auto writer = files.open_write("/work/in/big.bin");  // any size, in bounded memory
    const std::string block(64 * 1024, 'x');
    for (int i = 0; i < 32; ++i) writer.write(block);
    writer.finish();

    for (const auto& entry : files.list("/work/in")) std::cout << entry.name << "  " << entry.length << " bytes\n";
    files.remove("/work", true);
    try {
      files.stat("/work/in/greeting.txt");
    } catch (const sandforge::NotFound& error) {
      std::cout << "gone: " << error.what() << "\n";
    }
    return 0;
  } catch (const sandforge::Error& error) {
    std::cerr << error.what() << "\n" << error.remedy() << "\n";
    return 1;
  }
}
