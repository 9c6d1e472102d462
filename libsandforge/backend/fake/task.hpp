// SPDX-License-Identifier: Apache-2.0
// FakeTask: one running command of a fake guest, and Program: what runs in it. A program is a small state machine that
// the guest's thread steps while the task has room for output; nothing in it waits or blocks.
#pragma once

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "backend/fake/files.hpp"
#include "wire/messages.hpp"

namespace sandforge::backend::fake {

using Clock = std::chrono::steady_clock;

struct Step {
  enum class Kind : std::uint8_t { More, Wait, Done };  // go on at once; when input or time came; ended with `code`
  Kind kind = Kind::More;
  int code = 0;
};
inline Step done(int code) { return {Step::Kind::Done, code}; }
inline Step more() { return {Step::Kind::More, 0}; }
inline Step wait() { return {Step::Kind::Wait, 0}; }

class FakeTask;

class Program {
 public:
  virtual ~Program() = default;
  virtual Step step(FakeTask& task) = 0;
};

// Where a descriptor of the running command leads: to a channel of the stream, or into a file.
struct Sink {
  std::uint8_t channel = wire::kStdout;
  NodePtr file;
};

class FakeTask {
 public:
  // A task makes at most this many bytes ahead of what the connection took, like a pipe's buffer.
  static constexpr std::size_t kPipe = 64 * 1024;

  FakeTask(FileTree& tree, std::uint32_t number) : files(tree), pid(number) {}

  // For programs. Descriptor 1 or 2.
  void write(int descriptor, std::string_view bytes);
  // "name: text" on descriptor 2, and the exit code to go on with.
  Step complain(std::string_view name, std::string_view text, int code = 1);
  // The command's input: its stdin, or the file of a redirection.
  std::string_view peek() const noexcept { return redirected_input ? *redirected_input : input; }
  bool at_end() const noexcept { return peek().empty() && (redirected_input || input_ended); }
  void take(std::size_t bytes);
  bool has_room() const noexcept { return out[1].size() + out[2].size() < kPipe; }

  FileTree& files;
  std::uint32_t pid;
  std::map<std::string, std::string, std::less<>> env;
  std::string cwd = "/";
  std::array<Sink, 3> sinks{Sink{}, Sink{wire::kStdout, nullptr}, Sink{wire::kStderr, nullptr}};

  std::optional<std::string> redirected_input;
  std::string input;                                     // came on stdin, not taken yet
  std::size_t consumed = 0;                              // of it since the last look, to be given back as credit
  bool input_ended = false;                              // nothing more will come
  Clock::time_point wake_at = Clock::time_point::max();  // a waiting program is stepped again then
  int raised = 0;                                        // signal that the task sent to itself

  std::array<std::string, 3> out;  // by channel: waits for the connection
  std::array<std::uint64_t, 3> totals{};
  std::size_t shell_steps = 0, shell_depth = 0;
};

// The program `argv[0]`; null when there is none of that name. `argv` is not empty.
std::unique_ptr<Program> make_program(const std::vector<std::string>& argv);
// sh -c script [name [args…]]
std::unique_ptr<Program> make_shell(std::string script, std::vector<std::string> arguments);

// 0 for names and numbers that are no signal. "TERM", "SIGTERM", "15".
int signal_number(std::string_view name);

}  // namespace sandforge::backend::fake
