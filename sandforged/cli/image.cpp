// SPDX-License-Identifier: Apache-2.0
// sandforged image: the store of guest images.
#include <unistd.h>
#include <sandforge/images.hpp>

#include <array>
#include <ctime>

#include "cli/commands.hpp"

namespace sandforge::cli {
namespace {

constexpr const char* kHelp = R"(usage: sandforged image COMMAND [--image-dir DIR]

  build [NAME] [--recipe FILE] [--kernel stock|built] [--force]
      build an image (default: "default", by the built-in recipe); does
      nothing when the store has it already. A built kernel is compiled from
      the distribution's source with Sandforge's small configuration: it
      starts several times faster than the stock one
  import NAME ROOT [--kernel FILE]
      take a root file system (directory, tar or OCI layout) as image NAME;
      without --kernel, kernel and modules of image "default" are used
  list              name, digest, kernel, size and date of every image
  inspect NAME      check every blob and print the manifest
  rm NAME           remove the name, and content that no other image uses
)";

// On a terminal one line that is rewritten, elsewhere a line for each step.
class Progress {
 public:
  explicit Progress(bool terminal) : terminal_(terminal) {}
  void report(std::string_view step, std::uint64_t done, std::uint64_t total) {
    const std::uint64_t percent = total == 0 ? 0 : done * 100 / total;
    if (step == step_ && (!terminal_ || percent == percent_)) return;
    step_ = step;
    percent_ = percent;
    std::string line(step);
    if (terminal_ && total > 0) line += "  " + std::to_string(percent) + "%";
    write(terminal_ ? "\r\x1b[K" + line : line + "\n");
  }
  void end() {
    if (terminal_ && !step_.empty()) write("\r\x1b[K");
  }

 private:
  static void write(const std::string& text) {
    [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  }
  const bool terminal_;
  std::string step_;
  std::uint64_t percent_ = 0;
};

std::string megabytes(std::uint64_t bytes) {
  return std::to_string((bytes + 1024 * 1024 - 1) / (1024 * 1024)) + " MiB";
}

std::string date(std::int64_t seconds) {
  const std::time_t time = seconds;
  std::tm parts{};
  gmtime_r(&time, &parts);
  std::array<char, 32> text{};
  return std::string(text.data(), std::strftime(text.data(), text.size(), "%Y-%m-%d %H:%M", &parts));
}

std::string padded(std::string text, std::size_t width) {
  text.resize(std::max(width, text.size()), ' ');
  return text + "  ";
}

int list(Images& images) {
  std::string text = padded("NAME", 16) + padded("DIGEST", 19) + padded("KERNEL", 26) + padded("ROOT", 9) + "CREATED\n";
  for (const ImageInfo& info : images.list()) {
    text += padded(info.name, 16) + padded(info.digest.substr(0, 19), 19) + padded(info.kernel_release, 26) +
            padded(megabytes(info.root_bytes), 9) + date(info.created_at) + "\n";
  }
  return print(text) ? 0 : 1;
}

int inspect(Images& images, const std::string& name) {
  const ImageInfo info = images.inspect(name);
  return print("# " + info.name + " " + info.digest + "\n" + info.manifest) ? 0 : 1;
}

int report(const ImageInfo& info) { return print(info.name + " " + info.digest + "\n") ? 0 : 1; }

const std::string& word(const Args& args, std::size_t index, const char* what) {
  if (args.rest().size() <= index) throw UsageError(std::string("image: missing ") + what);
  return args.rest()[index];
}

void no_more_than(const Args& args, std::size_t count) {
  if (args.rest().size() > count) throw UsageError("unexpected argument '" + args.rest()[count] + "'");
}

}  // namespace

int image(const Words& words) {
  const Args args(words, {{"--image-dir"}, {"--helper-dir"}, {"--recipe"}, {"--kernel"}, {"--force", false}},
                  Args::Stop::Never);
  if (args.help()) return print(kHelp) ? 0 : 1;
  const std::string& command = word(args, 0, "command: build, import, list, inspect or rm");
  Progress progress(isatty(STDERR_FILENO) == 1);
  Images images(
      {args.text("--image-dir"), args.text("--helper-dir"),
       [&](std::string_view step, std::uint64_t done, std::uint64_t total) { progress.report(step, done, total); },
       command == "build" ? args.text("--kernel") : std::string()});
  struct EndOfLine {
    Progress& progress;
    ~EndOfLine() { progress.end(); }
  } const end_of_line{progress};
  if (command == "build") {
    no_more_than(args, 2);
    const std::string name = args.rest().size() > 1 ? args.rest()[1] : "default";
    return report(images.build(name, args.text("--recipe"), args.has("--force")));
  }
  if (command == "import") {
    no_more_than(args, 3);
    return report(images.import(word(args, 1, "image name"), word(args, 2, "root file system"), args.text("--kernel")));
  }
  if (command == "list" || command == "ls") return no_more_than(args, 1), list(images);
  if (command == "inspect") return no_more_than(args, 2), inspect(images, word(args, 1, "image name"));
  if (command == "rm") {
    no_more_than(args, 2);
    images.remove(word(args, 1, "image name"));
    return 0;
  }
  throw UsageError("unknown image command '" + command + "': use build, import, list, inspect or rm");
}

}  // namespace sandforge::cli
