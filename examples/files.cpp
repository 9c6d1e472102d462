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

    files.write("/data/in/hello.txt", "hello\n");  // missing directories are made
    files.rename("/data/in/hello.txt", "/data/in/greeting.txt");
    std::cout << files.read("/data/in/greeting.txt");

    auto writer = files.open_write("/data/in/big.bin");  // any size, in bounded memory
    const std::string block(64 * 1024, 'x');
    for (int i = 0; i < 32; ++i) writer.write(block);
    writer.finish();

    for (const auto& entry : files.list("/data/in")) std::cout << entry.name << "  " << entry.length << " bytes\n";
    files.remove("/data", true);
    try {
      files.stat("/data/in/greeting.txt");
    } catch (const sandforge::NotFound& error) {
      std::cout << "gone: " << error.what() << "\n";
    }
    return 0;
  } catch (const sandforge::Error& error) {
    std::cerr << error.what() << "\n" << error.remedy() << "\n";
    return 1;
  }
}
