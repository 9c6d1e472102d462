// SPDX-License-Identifier: Apache-2.0
// The built-in programs of a fake guest: just enough of each for tests of what is above a backend. They are fakes: no
// options but those named here.
#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <functional>
#include <optional>

#include "backend/fake/task.hpp"

namespace sandforge::backend::fake {
namespace {

using Args = std::vector<std::string>;
constexpr std::size_t kPiece = 32 * 1024;  // of output made in one step

template <typename Number>
std::optional<Number> number_of(std::string_view text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return number;
}

// \n, \t, \\, \0 and octal \NNN of printf and of its format.
std::string unescape(std::string_view text) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\' || i + 1 == text.size()) {
      out += text[i];
      continue;
    }
    const char c = text[++i];
    if (c >= '0' && c <= '7') {
      unsigned value = 0;
      for (int digits = 0; digits < 3 && i < text.size() && text[i] >= '0' && text[i] <= '7'; ++digits, ++i) {
        value = value * 8 + static_cast<unsigned>(text[i] - '0');
      }
      --i;
      out += static_cast<char>(value & 0xff);
    } else {
      switch (c) {
        case 'n': out += '\n'; break;
        case 't': out += '\t'; break;
        case 'r': out += '\r'; break;
        case '\\': out += '\\'; break;
        default: (out += '\\') += c; break;
      }
    }
  }
  return out;
}

// A program that is over in one step.
class Instant final : public Program {
 public:
  using Body = std::function<Step(FakeTask&, const Args&)>;
  Instant(Args args, Body body) : args_(std::move(args)), body_(std::move(body)) {}
  Step step(FakeTask& task) override { return body_(task, args_); }

 private:
  Args args_;
  Body body_;
};

Step run_echo(FakeTask& task, const Args& args) {
  const bool newline = args.size() < 2 || args[1] != "-n";
  std::string line;
  for (std::size_t i = newline ? 1 : 2; i < args.size(); ++i) {
    if (i > (newline ? 1u : 2u)) line += ' ';
    line += args[i];
  }
  if (newline) line += '\n';
  task.write(1, line);
  return done(0);
}

// %s %d %% and escapes; the format is used again while arguments are left.
Step run_printf(FakeTask& task, const Args& args) {
  if (args.size() < 2) return task.complain("printf", "missing format", 2);
  const std::string format = unescape(args[1]);
  std::size_t next = 2;
  do {
    const std::size_t before = next;
    std::string text;
    for (std::size_t i = 0; i < format.size(); ++i) {
      if (format[i] != '%' || i + 1 == format.size()) {
        text += format[i];
      } else if (format[++i] == '%') {
        text += '%';
      } else if (format[i] == 's' || format[i] == 'd') {
        if (next < args.size()) text += args[next++];
      } else {
        return task.complain("printf", "the fake knows %s, %d and %% only", 2);
      }
    }
    task.write(1, text);
    if (next == before) break;
  } while (next < args.size());
  return done(0);
}

Step run_env(FakeTask& task, const Args&) {
  std::string text;
  for (const auto& [key, value] : task.env) text += key + "=" + value + "\n";
  task.write(1, text);
  return done(0);
}

Step run_pwd(FakeTask& task, const Args&) {
  task.write(1, task.cwd + "\n");
  return done(0);
}

// One path operation for each argument that is no option.
Step each_path(FakeTask& task, const Args& args, const std::function<base::Status(const std::string&)>& operation) {
  int code = 0;
  for (std::size_t i = 1; i < args.size(); ++i) {
    if (args[i].empty() || args[i].front() == '-') continue;
    if (const auto status = operation(absolute_path(task.cwd, args[i])); !status) {
      code = task.complain(args[0], status.error().message).code;
    }
  }
  return done(code);
}
bool has_option(const Args& args, char letter) {
  return std::any_of(args.begin() + 1, args.end(), [letter](const std::string& arg) {
    return arg.size() > 1 && arg[0] == '-' && arg.find(letter) != arg.npos;
  });
}

Step run_mkdir(FakeTask& task, const Args& args) {
  return each_path(task, args, [&](const std::string& path) {
    return task.files.make_directory(path, 0755, has_option(args, 'p'));
  });
}
Step run_rm(FakeTask& task, const Args& args) {
  return each_path(task, args, [&](const std::string& path) -> base::Status {
    auto status = task.files.remove(path, has_option(args, 'r'));
    if (!status && has_option(args, 'f') && status.error().code == base::Code::NotFound) return {};
    return status;
  });
}
Step run_touch(FakeTask& task, const Args& args) {
  return each_path(task, args, [&](const std::string& path) -> base::Status {
    if (task.files.find(path)) return {};
    SANDFORGE_TRY([[maybe_unused]] auto node, task.files.create(path, false));
    return {};
  });
}
Step run_ls(FakeTask& task, const Args& args) {
  const std::string path = absolute_path(task.cwd, args.size() > 1 ? args.back() : ".");
  const auto node = task.files.find(path);
  if (!node) return task.complain("ls", node.error().message, 2);
  std::string text;
  for (const auto& [name, child] : node.value()->children) text += name + "\n";
  if (!node.value()->is_directory()) text = args.back() + "\n";
  task.write(1, text);
  return done(0);
}

Step run_test(FakeTask& task, const Args& all) {
  Args args(all.begin() + 1, all.end());
  if (all[0] == "[") {
    if (args.empty() || args.back() != "]") return task.complain("[", "missing ]", 2);
    args.pop_back();
  }
  if (args.size() == 3 && (args[1] == "=" || args[1] == "!=")) {
    return done((args[0] == args[2]) == (args[1] == "=") ? 0 : 1);
  }
  if (args.size() == 2 && (args[0] == "-z" || args[0] == "-n"))
    return done(args[1].empty() == (args[0] == "-z") ? 0 : 1);
  if (args.size() == 2 && (args[0] == "-e" || args[0] == "-f" || args[0] == "-d")) {
    const auto node = task.files.find(absolute_path(task.cwd, args[1]));
    if (!node) return done(1);
    return done(args[0] == "-e" || (args[0] == "-d") == node.value()->is_directory() ? 0 : 1);
  }
  return task.complain("test", "the fake does not know this test", 2);
}

Step run_kill(FakeTask& task, const Args& args) {
  std::string name = "TERM";
  std::size_t at = 1;
  if (args.size() > 2 && args[1] == "-s") {
    name = args[2], at = 3;
  } else if (args.size() > 1 && args[1].size() > 1 && args[1][0] == '-') {
    name = args[1].substr(1), at = 2;
  }
  const int number = signal_number(name);
  if (number == 0) return task.complain("kill", name + ": no such signal");
  if (at >= args.size() || args[at] != std::to_string(task.pid)) {
    return task.complain("kill", "the fake can only signal the command itself");
  }
  task.raised = number;
  return done(0);
}

// Files one after the other, or stdin where there are none ("-" among them too).
class Cat final : public Program {
 public:
  explicit Cat(Args args) : sources_(args.begin() + 1, args.end()) {
    if (sources_.empty()) sources_.emplace_back("-");
  }
  Step step(FakeTask& task) override {
    if (at_ == sources_.size()) return done(code_);
    if (sources_[at_] == "-") {
      if (task.peek().empty()) return task.at_end() ? next_source() : wait();
      const std::size_t count = std::min(task.peek().size(), kPiece);
      task.write(1, task.peek().substr(0, count));
      task.take(count);
      return more();
    }
    if (!file_) {
      const std::string path = absolute_path(task.cwd, sources_[at_]);
      auto found = task.files.find(path);
      if (!found || found.value()->is_directory()) {
        code_ = task.complain("cat", found ? sources_[at_] + ": Is a directory" : found.error().message).code;
        return next_source();
      }
      file_ = found.value();
    }
    const std::string_view piece = std::string_view(file_->content).substr(std::min(offset_, file_->content.size()));
    if (piece.empty()) return next_source();
    task.write(1, piece.substr(0, kPiece));
    offset_ += kPiece;
    return more();
  }

 private:
  Step next_source() {
    ++at_;
    file_ = nullptr;
    offset_ = 0;
    return more();
  }

  Args sources_;
  std::size_t at_ = 0, offset_ = 0;
  NodePtr file_;
  int code_ = 0;
};

class Sleep final : public Program {
 public:
  explicit Sleep(Args args) : args_(std::move(args)) {}
  Step step(FakeTask& task) override {
    if (until_ == Clock::time_point::max()) {
      double seconds = -1;
      if (args_.size() == 2) {
        char* end = nullptr;
        seconds = std::strtod(args_[1].c_str(), &end);
        if (*end != '\0') seconds = -1;
      }
      if (!(seconds >= 0)) return task.complain("sleep", "needs a number of seconds");
      until_ = Clock::now() + std::chrono::microseconds(static_cast<std::int64_t>(std::min(seconds, 1e9) * 1e6));
    }
    if (Clock::now() >= until_) return done(0);
    task.wake_at = until_;
    return wait();
  }

 private:
  Args args_;
  Clock::time_point until_ = Clock::time_point::max();
};

// "y\n", or the given words, without end.
class Yes final : public Program {
 public:
  explicit Yes(const Args& args) {
    std::string line;
    for (std::size_t i = 1; i < args.size(); ++i) line += (i > 1 ? " " : "") + args[i];
    if (args.size() < 2) line = "y";
    line = line.substr(0, kPiece) + "\n";
    while (piece_.size() < kPiece) piece_ += line;
  }
  Step step(FakeTask& task) override {
    task.write(1, piece_);
    return more();
  }

 private:
  std::string piece_;
};

// head -c N [file]: of a file, of /dev/zero, or of stdin.
class Head final : public Program {
 public:
  explicit Head(Args args) : args_(std::move(args)) {}
  Step step(FakeTask& task) override {
    if (!left_) {
      if (args_.size() >= 3 && args_[1] == "-c") left_ = number_of<std::uint64_t>(args_[2]);
      if (!left_) return task.complain("head", "the fake knows head -c BYTES [FILE] only", 2);
      if (args_.size() > 3) {
        const auto found = task.files.find(absolute_path(task.cwd, args_[3]));
        if (!found) return task.complain("head", found.error().message);
        file_ = found.value();
        zero_ = args_[3] == "/dev/zero";
      }
    }
    if (*left_ == 0) return done(0);
    const auto want = static_cast<std::size_t>(std::min<std::uint64_t>(*left_, kPiece));
    if (zero_) {
      task.write(1, std::string(want, '\0'));
      *left_ -= want;
      return more();
    }
    if (!file_ && task.peek().empty()) return task.at_end() ? done(0) : wait();
    const std::string_view source = file_ ? std::string_view(file_->content) : task.peek();
    const std::string piece(source.substr(std::min(offset_, source.size()), want));
    if (piece.empty()) return done(0);
    task.write(1, piece);
    *left_ -= piece.size();
    if (file_) {
      offset_ += piece.size();
    } else {
      task.take(piece.size());
    }
    return more();
  }

 private:
  Args args_;
  std::optional<std::uint64_t> left_;
  NodePtr file_;
  bool zero_ = false;
  std::size_t offset_ = 0;
};

// wc -c [file]
class WordCount final : public Program {
 public:
  explicit WordCount(Args args) : args_(std::move(args)) {}
  Step step(FakeTask& task) override {
    if (args_.size() < 2 || args_[1] != "-c") return task.complain("wc", "the fake knows wc -c [FILE] only", 2);
    if (args_.size() > 2) {
      const auto found = task.files.find(absolute_path(task.cwd, args_[2]));
      if (!found) return task.complain("wc", found.error().message);
      task.write(1, std::to_string(found.value()->content.size()) + " " + args_[2] + "\n");
      return done(0);
    }
    count_ += task.peek().size();
    task.take(task.peek().size());
    if (!task.at_end()) return wait();
    task.write(1, std::to_string(count_) + "\n");
    return done(0);
  }

 private:
  Args args_;
  std::uint64_t count_ = 0;
};

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

}  // namespace

void FakeTask::write(int descriptor, std::string_view bytes) {
  const Sink& sink = sinks[static_cast<std::size_t>(descriptor)];
  if (sink.file) {
    if (const auto status = files.append(*sink.file, bytes); !status && descriptor == 1) {
      raised = raised ? raised : 25;  // SIGXFSZ: a full disk ends the command, as the fake has no errno to give it
    }
    return;
  }
  out[sink.channel].append(bytes);
  totals[sink.channel] += bytes.size();
}

void FakeTask::take(std::size_t bytes) {
  if (redirected_input) {
    redirected_input->erase(0, bytes);
  } else {
    input.erase(0, bytes);
    consumed += bytes;
  }
}

Step FakeTask::complain(std::string_view name, std::string_view text, int code) {
  write(2, std::string(name) + ": " + std::string(text) + "\n");
  return done(code);
}

int signal_number(std::string_view name) {
  if (name.substr(0, 3) == "SIG") name.remove_prefix(3);
  static constexpr std::pair<std::string_view, int> kNames[] = {{"HUP", 1},   {"INT", 2},   {"QUIT", 3},  {"ABRT", 6},
                                                                {"KILL", 9},  {"USR1", 10}, {"SEGV", 11}, {"USR2", 12},
                                                                {"PIPE", 13}, {"ALRM", 14}, {"TERM", 15}};
  for (const auto& [known, number] : kNames) {
    if (name == known) return number;
  }
  const auto number = number_of<int>(name);
  return number && *number >= 1 && *number <= 64 ? *number : 0;
}

std::unique_ptr<Program> make_program(const std::vector<std::string>& argv) {
  // Found by plain name, or under the directories where a guest would have it.
  const std::string_view name = base_name(argv[0]);
  const std::string_view directory = std::string_view(argv[0]).substr(0, argv[0].size() - name.size());
  if (!directory.empty() && directory != "/bin/" && directory != "/usr/bin/") return nullptr;

  static constexpr std::pair<std::string_view, Step (*)(FakeTask&, const Args&)> kInstant[] = {
      {"echo", run_echo},   {"printf", run_printf}, {"env", run_env},     {"pwd", run_pwd},
      {"mkdir", run_mkdir}, {"rm", run_rm},         {"touch", run_touch}, {"ls", run_ls},
      {"test", run_test},   {"[", run_test},        {"kill", run_kill},
  };
  for (const auto& [known, body] : kInstant) {
    if (name == known) return std::make_unique<Instant>(argv, body);
  }
  if (name == "true" || name == "false") {
    const int code = name == "true" ? 0 : 1;
    return std::make_unique<Instant>(argv, [code](FakeTask&, const Args&) { return done(code); });
  }
  if (name == "cat") return std::make_unique<Cat>(argv);
  if (name == "sleep") return std::make_unique<Sleep>(argv);
  if (name == "yes") return std::make_unique<Yes>(argv);
  if (name == "head") return std::make_unique<Head>(argv);
  if (name == "wc") return std::make_unique<WordCount>(argv);
  if ((name == "sh" || name == "bash") && argv.size() > 2 && argv[1] == "-c") {
    return make_shell(argv[2], Args(argv.begin() + 3, argv.end()));
  }
  if (name == "sh" || name == "bash") {
    return std::make_unique<Instant>(argv, [](FakeTask& task, const Args&) {
      return task.complain("sh", "the fake shell knows sh -c SCRIPT only", 2);
    });
  }
  return nullptr;
}

}  // namespace sandforge::backend::fake
