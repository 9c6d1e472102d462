// SPDX-License-Identifier: Apache-2.0
// `sh -c` of a fake guest: a small interpreter and no shell. It knows commands joined by ; && || and newlines,
// '…' "…" and backslash quoting, $VAR ${VAR} $? $$ $0…$9, NAME=value, the redirections > >> < 1> 2> >&2 2>&1, comments,
// `exec`, `cd`, `export`, `exit`, `:`. Whatever else a shell has (pipes, &, $(…), if, for, globs) is refused with
// exit 2.
#include <cctype>
#include <charconv>
#include <optional>
#include <utility>

#include "backend/fake/task.hpp"

namespace sandforge::backend::fake {
namespace {

struct Redirect {
  int descriptor = 1;
  std::string op;    // ">", ">>", "<", ">&"
  std::string word;  // raw
};
struct Command {
  std::string joined_by = ";";     // to the one before
  std::vector<std::string> words;  // raw: quotes and $ are worked out when it runs
  std::vector<Redirect> redirects;
};

// Cuts a script into commands. `fault` is set for what the fake does not know.
class Parser {
 public:
  explicit Parser(std::string_view script) : rest_(script) {}

  std::vector<Command> parse(std::string& fault) {
    while (fault.empty() && skip_blanks()) {
      if (rest_.front() == '#') {
        rest_.remove_prefix(std::min(rest_.find('\n'), rest_.size()));
      } else if (take("&&")) {
        finish("&&");
      } else if (take("||")) {
        finish("||");
      } else if (take(";") || take("\n")) {
        finish(";");
      } else if (!take_redirect() && !take_word()) {
        fault = "the fake shell does not know '" + std::string(rest_.substr(0, 1)) + "'";
      }
    }
    finish(";");
    return std::move(commands_);
  }

 private:
  bool skip_blanks() {
    while (!rest_.empty() && (rest_.front() == ' ' || rest_.front() == '\t')) rest_.remove_prefix(1);
    return !rest_.empty();
  }
  bool take(std::string_view text) {
    if (rest_.substr(0, text.size()) != text) return false;
    rest_.remove_prefix(text.size());
    return true;
  }
  void finish(const char* next_join) {
    const bool empty = current_.words.empty() && current_.redirects.empty();
    if (!empty) commands_.push_back(std::move(current_));
    // A newline after && changes nothing.
    if (!empty || commands_.empty()) (current_ = Command{}).joined_by = next_join;
  }
  bool take_redirect() {
    std::size_t at = 0;
    Redirect redirect;
    if (rest_[0] == '1' || rest_[0] == '2') at = 1, redirect.descriptor = rest_[0] - '0';
    if (at >= rest_.size() || (rest_[at] != '>' && rest_[at] != '<')) return false;
    rest_.remove_prefix(at);
    for (const char* op : {">>", ">&", ">", "<"}) {
      if (take(op)) {
        redirect.op = op;
        break;
      }
    }
    if (!skip_blanks()) return false;
    redirect.word = word();
    current_.redirects.push_back(redirect);
    return !redirect.word.empty();
  }
  bool take_word() {
    std::string text = word();
    if (text.empty()) return false;
    current_.words.push_back(std::move(text));
    return true;
  }
  // As it stands, quotes included; empty when a character comes that cannot be in one.
  std::string word() {
    std::size_t at = 0;
    char quote = 0;
    for (; at < rest_.size(); ++at) {
      const char c = rest_[at];
      if (c == '\\' && quote != '\'') {
        ++at;
      } else if (quote) {
        if (c == quote) quote = 0;
      } else if (c == '\'' || c == '"') {
        quote = c;
      } else if (std::string_view(" \t\n;&|<>()`*{}").find(c) != std::string_view::npos && !brace(at)) {
        break;
      }
    }
    at = std::min(at, rest_.size());
    std::string text(rest_.substr(0, quote ? 0 : at));
    rest_.remove_prefix(text.size());
    return text;
  }
  // The braces of ${VAR}.
  bool brace(std::size_t at) const {
    if (rest_[at] == '{') return at > 0 && rest_[at - 1] == '$';
    return rest_[at] == '}' && rest_.substr(0, at).find("${") != std::string_view::npos;
  }

  std::string_view rest_;
  Command current_;
  std::vector<Command> commands_;
};

class Shell final : public Program {
 public:
  Shell(std::string script, std::vector<std::string> arguments)
      : script_(std::move(script)), arguments_(std::move(arguments)) {
    if (arguments_.empty()) arguments_.emplace_back("sh");
  }

  Step step(FakeTask& task) override {
    if (!parsed_) {
      parsed_ = true;
      std::string fault;
      if (script_.size() > limits::kFakeScriptMax) fault = "script over the fake's limit";
      if (fault.empty()) commands_ = Parser(script_).parse(fault);
      if (!fault.empty()) return task.complain("sh", fault, 2);
      plain_sinks_ = task.sinks;
      plain_input_ = task.redirected_input;
    }
    if (running_) return step_program(task);
    if (at_ == commands_.size() || task.raised) return done(status_);
    if (++task.shell_steps > limits::kFakeShellStepsMax) return task.complain("sh", "too many commands", 2);

    const Command& command = commands_[at_++];
    if ((command.joined_by == "&&" && status_ != 0) || (command.joined_by == "||" && status_ == 0)) return more();
    return start(task, command);
  }

 private:
  Step step_program(FakeTask& task) {
    const Step step = running_->step(task);
    if (step.kind != Step::Kind::Done) return step;
    finish_command(task, step.code);
    return exec_ ? done(status_) : more();
  }

  void finish_command(FakeTask& task, int code) {
    status_ = code;
    if (running_) --task.shell_depth;
    running_ = nullptr;
    task.sinks = plain_sinks_;
    task.redirected_input = plain_input_;
    for (auto& [name, value] : kept_env_) {
      if (value) {
        task.env[name] = std::move(*value);
      } else {
        task.env.erase(name);
      }
    }
    kept_env_.clear();
  }

  Step start(FakeTask& task, const Command& command) {
    std::vector<std::string> argv;
    std::vector<std::pair<std::string, std::string>> assignments;
    for (const std::string& word : command.words) {
      const std::size_t equals = word.find('=');
      if (argv.empty() && equals != word.npos && is_name(word.substr(0, equals))) {
        std::vector<std::string> value;
        expand(task, word.substr(equals + 1), value, false);
        assignments.emplace_back(word.substr(0, equals), value.empty() ? "" : value[0]);
      } else {
        expand(task, word, argv, true);
      }
    }
    if (!redirect(task, command)) {
      finish_command(task, 2);
      return more();
    }
    for (auto& [name, value] : assignments) {
      if (!argv.empty()) kept_env_.emplace_back(name, find_env(task, name));
      task.env[name] = value;
    }
    if (argv.empty()) {
      finish_command(task, 0);
      return more();
    }
    if (argv[0] == "exec") {
      exec_ = argv.size() > 1;
      argv.erase(argv.begin());
      if (argv.empty()) return finish_command(task, 0), more();
    }
    if (const auto step = built_in(task, argv)) return *step;
    if (task.shell_depth >= limits::kFakeShellDepthMax) return task.complain("sh", "nested too deeply", 2);
    running_ = make_program(argv);
    if (running_) return ++task.shell_depth, more();
    task.write(2, "sh: 1: " + argv[0] + ": not found\n");
    finish_command(task, 127);
    return exec_ ? done(127) : more();
  }

  // cd, export, exit and : change the shell itself.
  std::optional<Step> built_in(FakeTask& task, const std::vector<std::string>& argv) {
    int code = 0;
    if (argv[0] == "exit") {
      code = status_;
      if (argv.size() > 1) std::from_chars(argv[1].data(), argv[1].data() + argv[1].size(), code);
      finish_command(task, code & 0xff);
      return done(status_);
    }
    if (argv[0] == "cd") {
      std::string path = absolute_path(task.cwd, argv.size() > 1 ? argv[1] : find_env(task, "HOME").value_or("/"));
      const auto node = task.files.find(path);
      if (node && node.value()->is_directory()) {
        task.cwd = std::move(path);
      } else {
        task.write(2, "sh: 1: cd: can't cd to " + path + "\n");
        code = 2;
      }
    } else if (argv[0] == "export") {
      for (std::size_t i = 1; i < argv.size(); ++i) {
        const std::size_t equals = argv[i].find('=');
        if (equals != std::string::npos) task.env[argv[i].substr(0, equals)] = argv[i].substr(equals + 1);
      }
    } else if (argv[0] != ":") {
      return std::nullopt;
    }
    finish_command(task, code);
    return more();
  }

  bool redirect(FakeTask& task, const Command& command) {
    for (const Redirect& redirect : command.redirects) {
      std::vector<std::string> target;
      expand(task, redirect.word, target, false);
      const std::string name = target.empty() ? "" : target[0];
      Sink& sink = task.sinks[static_cast<std::size_t>(redirect.descriptor)];
      if (redirect.op == ">&") {
        if (name != "1" && name != "2") return complain(task, name + ": bad descriptor");
        sink = Sink(task.sinks[name == "1" ? 1 : 2]);
        continue;
      }
      const std::string path = absolute_path(task.cwd, name);
      auto node = task.files.find(path);
      if (redirect.op == "<") {
        if (!node) return complain(task, node.error().message);
        task.redirected_input = node.value()->content;
        continue;
      }
      const bool append = redirect.op == ">>" && node && !node.value()->is_directory();
      if (!append && !(node && S_ISCHR(node.value()->mode))) node = task.files.create(path, false);
      if (!node) return complain(task, "cannot create " + node.error().message);
      sink.file = node.value();
    }
    return true;
  }
  static bool complain(FakeTask& task, const std::string& text) {
    task.write(2, "sh: 1: " + text + "\n");
    return false;
  }

  // Quotes go, variables come. Unquoted values are split at blanks when `split`.
  void expand(const FakeTask& task, std::string_view word, std::vector<std::string>& fields, bool split) const {
    std::string field;
    bool present = false;  // "" is a field, an unset variable is none
    char quote = 0;
    for (std::size_t i = 0; i < word.size(); ++i) {
      const char c = word[i];
      if (c == '\\' && quote != '\'' && i + 1 < word.size()) {
        // Within "…" a backslash quotes only what would be special there.
        if (quote && std::string_view("$\"\\`").find(word[i + 1]) == std::string_view::npos) field += c;
        field += word[++i];
        present = true;
      } else if (quote ? c == quote : (c == '\'' || c == '"')) {
        quote = quote ? 0 : c;
        present = true;
      } else if (c == '$' && quote != '\'') {
        const std::string value = variable(task, word, i);
        present = present || !value.empty();
        for (const char v : value) {
          if (split && !quote && (v == ' ' || v == '\n' || v == '\t')) {
            if (!field.empty()) fields.push_back(std::exchange(field, {}));
          } else {
            field += v;
          }
        }
      } else {
        field += c;
        present = true;
      }
    }
    if (present) fields.push_back(std::move(field));
  }

  // The value of what begins with the $ at word[i]; i is left at its last character.
  std::string variable(const FakeTask& task, std::string_view word, std::size_t& i) const {
    const std::string_view rest = word.substr(i + 1);
    if (rest.empty()) return "$";
    if (rest[0] == '?') return ++i, std::to_string(status_);
    if (rest[0] == '$') return ++i, std::to_string(task.pid);
    if (rest[0] >= '0' && rest[0] <= '9') {
      ++i;
      const auto index = static_cast<std::size_t>(rest[0] - '0');
      return index < arguments_.size() ? arguments_[index] : "";
    }
    const bool braces = rest[0] == '{';
    std::size_t end = braces ? 1 : 0;
    const std::size_t begin = end;
    while (end < rest.size() && (std::isalnum(static_cast<unsigned char>(rest[end])) || rest[end] == '_')) ++end;
    if (end == begin) return "$";
    i += end + (braces ? 1 : 0);
    return find_env(task, rest.substr(begin, end - begin)).value_or("");
  }
  static std::optional<std::string> find_env(const FakeTask& task, std::string_view name) {
    const auto found = task.env.find(name);
    return found == task.env.end() ? std::nullopt : std::optional(found->second);
  }
  static bool is_name(std::string_view text) {
    for (const char c : text) {
      if (!std::isalnum(static_cast<unsigned char>(c)) && c != '_') return false;
    }
    return !text.empty() && !std::isdigit(static_cast<unsigned char>(text[0]));
  }

  std::string script_;
  std::vector<std::string> arguments_;  // $0, $1, …
  bool parsed_ = false;
  std::vector<Command> commands_;
  std::size_t at_ = 0;
  int status_ = 0;
  std::unique_ptr<Program> running_;
  bool exec_ = false;
  std::array<Sink, 3> plain_sinks_;
  std::optional<std::string> plain_input_;
  std::vector<std::pair<std::string, std::optional<std::string>>> kept_env_;
};

}  // namespace

std::unique_ptr<Program> make_shell(std::string script, std::vector<std::string> arguments) {
  return std::make_unique<Shell>(std::move(script), std::move(arguments));
}

}  // namespace sandforge::backend::fake
