// SPDX-License-Identifier: Apache-2.0
// Files of the guest: round trips, listings, errors, atomicity.
#include <algorithm>

#include "support.hpp"

using namespace conformance;

namespace {

FileList list_files(sandforge_sandbox* sandbox, const std::string& path) {
  Failure failure;
  sandforge_file_list* list = nullptr;
  const sandforge_code code = sandforge_sandbox_list_files(sandbox, path.c_str(), &list, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return FileList(list);
}

FileInfo stat_of(sandforge_sandbox* sandbox, const std::string& path) {
  Failure failure;
  sandforge_file_info* info = nullptr;
  const sandforge_code code = sandforge_sandbox_stat(sandbox, path.c_str(), &info, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
  return FileInfo(info);
}

bool exists(sandforge_sandbox* sandbox, const std::string& path) {
  sandforge_file_info* info = nullptr;
  const sandforge_code code = sandforge_sandbox_stat(sandbox, path.c_str(), &info, nullptr);
  sandforge_file_info_free(info);
  return code == SANDFORGE_OK;
}

// Leaves `path` a fresh, empty directory.
void fresh_directory(const std::string& path) {
  (void)sandforge_sandbox_remove(shared_guest(), path.c_str(), 1, nullptr);
  Failure failure;
  const sandforge_code code = sandforge_sandbox_mkdir(shared_guest(), path.c_str(), 0, 1, failure.slot());
  INFO(failure.message());
  REQUIRE(code == SANDFORGE_OK);
}

}  // namespace

TEST_CASE("a file comes back as it was written: empty, text, and five MiB of every byte") {
  fresh_directory("/tmp/round");
  for (const std::string& bytes : {std::string(), std::string("text\n"), bytes_of(5u << 20)}) {
    CAPTURE(bytes.size());
    write_file(shared_guest(), "/tmp/round/file", bytes);
    CHECK((read_file(shared_guest(), "/tmp/round/file") == bytes));
    CHECK(stat_of(shared_guest(), "/tmp/round/file")->length == bytes.size());
  }
}

TEST_CASE("commands and files see the same bytes") {
  fresh_directory("/tmp/both");
  write_file(shared_guest(), "/tmp/both/in", "from the host");
  CHECK(out_of(run(shared_guest(), {.argv = {"cat", "/tmp/both/in"}})) == "from the host");
  run(shared_guest(), {.argv = {"sh", "-c", "echo from the guest > /tmp/both/out"}});
  CHECK(read_file(shared_guest(), "/tmp/both/out") == "from the guest\n");
}

TEST_CASE("a name that is not UTF-8 is a name like any other") {
  fresh_directory("/tmp/names");
  const std::string name = "caf\xe9 \xff";
  write_file(shared_guest(), "/tmp/names/" + name, "x");
  const FileList list = list_files(shared_guest(), "/tmp/names");
  REQUIRE(list->count == 1);
  CHECK(std::string(list->items[0]->name) == name);
  CHECK(std::string(list->items[0]->path) == "/tmp/names/" + name);
  CHECK(read_file(shared_guest(), "/tmp/names/" + name) == "x");
}

TEST_CASE("a listing is sorted bytewise and tells kinds, sizes and times") {
  fresh_directory("/tmp/list");
  write_file(shared_guest(), "/tmp/list/b", "22");
  write_file(shared_guest(), "/tmp/list/B", "1");
  write_file(shared_guest(), "/tmp/list/a.txt", "333");
  REQUIRE(sandforge_sandbox_mkdir(shared_guest(), "/tmp/list/dir", 0, 0, nullptr) == SANDFORGE_OK);
  const FileList list = list_files(shared_guest(), "/tmp/list/");
  REQUIRE(list->count == 4);
  const char* names[] = {"B", "a.txt", "b", "dir"};
  for (std::size_t i = 0; i < 4; ++i) CHECK(std::string(list->items[i]->name) == names[i]);
  CHECK(std::string(list->items[0]->path) == "/tmp/list/B");
  CHECK(list->items[1]->length == 3);
  CHECK((list->items[1]->mode & 0170000) == 0100000);
  CHECK((list->items[3]->mode & 0170000) == 0040000);
  CHECK(list->items[1]->modified_at > 1'500'000'000);
}

TEST_CASE("modes are what was asked for, or 0644 and 0755") {
  fresh_directory("/tmp/modes");
  write_file(shared_guest(), "/tmp/modes/plain", "x");
  CHECK((stat_of(shared_guest(), "/tmp/modes/plain")->mode & 07777) == 0644);
  write_file(shared_guest(), "/tmp/modes/script", "x", 0750);
  CHECK((stat_of(shared_guest(), "/tmp/modes/script")->mode & 07777) == 0750);
  write_file(shared_guest(), "/tmp/modes/script", "y");
  CHECK((stat_of(shared_guest(), "/tmp/modes/script")->mode & 07777) == 0750);
  REQUIRE(sandforge_sandbox_mkdir(shared_guest(), "/tmp/modes/dir", 0, 0, nullptr) == SANDFORGE_OK);
  CHECK((stat_of(shared_guest(), "/tmp/modes/dir")->mode & 07777) == 0755);
}

TEST_CASE("writing makes missing parents; mkdir does so when asked") {
  fresh_directory("/tmp/parents");
  write_file(shared_guest(), "/tmp/parents/a/b/c", "deep");
  CHECK(read_file(shared_guest(), "/tmp/parents/a/b/c") == "deep");
  Failure failure;
  CHECK(sandforge_sandbox_mkdir(shared_guest(), "/tmp/parents/x/y", 0, 0, failure.slot()) == SANDFORGE_NOT_FOUND);
  CHECK(sandforge_sandbox_mkdir(shared_guest(), "/tmp/parents/x/y", 0, 1, nullptr) == SANDFORGE_OK);
  CHECK(sandforge_sandbox_mkdir(shared_guest(), "/tmp/parents/x/y", 0, 1, nullptr) == SANDFORGE_OK);
  CHECK(sandforge_sandbox_mkdir(shared_guest(), "/tmp/parents/x/y", 0, 0, nullptr) == SANDFORGE_CONFLICT);
}

TEST_CASE("rename moves and replaces; remove removes, a full directory only when told to") {
  fresh_directory("/tmp/move");
  write_file(shared_guest(), "/tmp/move/one", "1");
  write_file(shared_guest(), "/tmp/move/two", "2");
  CHECK(sandforge_sandbox_rename(shared_guest(), "/tmp/move/one", "/tmp/move/two", nullptr) == SANDFORGE_OK);
  CHECK_FALSE(exists(shared_guest(), "/tmp/move/one"));
  CHECK(read_file(shared_guest(), "/tmp/move/two") == "1");
  Failure failure;
  CHECK(sandforge_sandbox_remove(shared_guest(), "/tmp/move", 0, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(failure.reason() == "not_empty");
  CHECK(sandforge_sandbox_remove(shared_guest(), "/tmp/move", 1, nullptr) == SANDFORGE_OK);
  CHECK_FALSE(exists(shared_guest(), "/tmp/move"));
}

TEST_CASE("what is wrong with a file is told by code, reason and a message with its path") {
  fresh_directory("/tmp/wrong");
  sandforge_buffer* buffer = nullptr;
  Failure failure;
  CHECK(sandforge_sandbox_read_file(shared_guest(), "/tmp/wrong/none", 0, &buffer, failure.slot()) ==
        SANDFORGE_NOT_FOUND);
  CHECK(failure.reason() == "file_missing");
  CHECK(failure.message() == "guest file \"/tmp/wrong/none\": No such file or directory");
  CHECK(sandforge_sandbox_read_file(shared_guest(), "/tmp/wrong", 0, &buffer, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(failure.reason() == "is_a_directory");
  CHECK(sandforge_sandbox_write_file(shared_guest(), "/tmp/wrong", "x", 1, 0, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(failure.reason() == "is_a_directory");
  sandforge_file_list* list = nullptr;
  write_file(shared_guest(), "/tmp/wrong/file", "x");
  CHECK(sandforge_sandbox_list_files(shared_guest(), "/tmp/wrong/file", &list, failure.slot()) == SANDFORGE_CONFLICT);
  CHECK(failure.reason() == "not_a_directory");
  CHECK(sandforge_sandbox_rename(shared_guest(), "/tmp/wrong/none", "/tmp/wrong/x", failure.slot()) ==
        SANDFORGE_NOT_FOUND);
  CHECK(sandforge_sandbox_remove(shared_guest(), "/tmp/wrong/none", 0, failure.slot()) == SANDFORGE_NOT_FOUND);
  sandforge_file_info* info = nullptr;
  CHECK(sandforge_sandbox_stat(shared_guest(), "/tmp/wrong/none", &info, failure.slot()) == SANDFORGE_NOT_FOUND);
}

TEST_CASE("paths that cannot be meant are refused") {
  const std::string long_path = "/" + std::string(5000, 'x');
  for (const char* path : {"", "relative", long_path.c_str()}) {
    sandforge_buffer* buffer = nullptr;
    Failure failure;
    CHECK(sandforge_sandbox_read_file(shared_guest(), path, 0, &buffer, failure.slot()) == SANDFORGE_INVALID_ARGUMENT);
    CHECK(failure.reason() == "invalid_path");
  }
}

TEST_CASE("a file larger than allowed is too_large, and streaming reads it all the same") {
  fresh_directory("/tmp/large");
  const std::string bytes = bytes_of(100'000);
  write_file(shared_guest(), "/tmp/large/file", bytes);
  sandforge_buffer* buffer = nullptr;
  Failure failure;
  CHECK(sandforge_sandbox_read_file(shared_guest(), "/tmp/large/file", 99'999, &buffer, failure.slot()) ==
        SANDFORGE_EXHAUSTED);
  CHECK(failure.reason() == "too_large");
  sandforge_file* raw = nullptr;
  REQUIRE(sandforge_sandbox_open_read(shared_guest(), "/tmp/large/file", 10, 50'000, &raw, nullptr) == SANDFORGE_OK);
  const File file(raw);
  REQUIRE(sandforge_file_get_info(file.get()) != nullptr);
  CHECK(sandforge_file_get_info(file.get())->length == 100'000);
  std::string read;
  std::vector<char> piece(7'000);
  for (std::size_t count = 1; count > 0;) {
    REQUIRE(sandforge_file_read(file.get(), piece.data(), piece.size(), &count, nullptr) == SANDFORGE_OK);
    read.append(piece.data(), count);
  }
  CHECK((read == bytes.substr(10, 50'000)));
}

TEST_CASE("a streamed write appears at finish and not before, and one that is dropped leaves nothing") {
  fresh_directory("/tmp/atomic");
  write_file(shared_guest(), "/tmp/atomic/file", "old");
  const std::string bytes = bytes_of(1u << 20);
  sandforge_file* raw = nullptr;
  REQUIRE(sandforge_sandbox_open_write(shared_guest(), "/tmp/atomic/file", 0, &raw, nullptr) == SANDFORGE_OK);
  File file(raw);
  CHECK(sandforge_file_get_info(file.get()) == nullptr);
  REQUIRE(sandforge_file_write(file.get(), bytes.data(), bytes.size(), nullptr) == SANDFORGE_OK);
  CHECK(info_of(shared_guest())->state == SANDFORGE_STATE_WRITING_FILE);
  CHECK(read_file(shared_guest(), "/tmp/atomic/file") == "old");
  REQUIRE(sandforge_file_finish(file.get(), nullptr) == SANDFORGE_OK);
  CHECK((read_file(shared_guest(), "/tmp/atomic/file") == bytes));

  REQUIRE(sandforge_sandbox_open_write(shared_guest(), "/tmp/atomic/file", 0, &raw, nullptr) == SANDFORGE_OK);
  file.reset(raw);
  REQUIRE(sandforge_file_write(file.get(), "half", 4, nullptr) == SANDFORGE_OK);
  file.reset();
  // The next operation is behind the cancellation on the same connection.
  CHECK((read_file(shared_guest(), "/tmp/atomic/file") == bytes));
  CHECK(list_files(shared_guest(), "/tmp/atomic")->count == 1);
}
