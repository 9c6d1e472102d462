// SPDX-License-Identifier: Apache-2.0
// What the conformance cases share: the engine under test, owners for the objects of the C ABI, short ways to call it.
// Nothing here or in the cases uses more than <sandforge/sandforge.h>.
#pragma once

#include <sandforge/sandforge.h>

#include <cstdint>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <doctest/doctest.h>

namespace conformance {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* object) const {
    Free(object);
  }
};
using Engine = std::unique_ptr<sandforge_engine, FreeWith<sandforge_engine_free>>;
using Sandbox = std::unique_ptr<sandforge_sandbox, FreeWith<sandforge_sandbox_free>>;
using Process = std::unique_ptr<sandforge_process, FreeWith<sandforge_process_free>>;
using File = std::unique_ptr<sandforge_file, FreeWith<sandforge_file_free>>;
using Result = std::unique_ptr<sandforge_exec_result, FreeWith<sandforge_exec_result_free>>;
using Info = std::unique_ptr<sandforge_sandbox_info, FreeWith<sandforge_sandbox_info_free>>;
using List = std::unique_ptr<sandforge_sandbox_list, FreeWith<sandforge_sandbox_list_free>>;
using FileInfo = std::unique_ptr<sandforge_file_info, FreeWith<sandforge_file_info_free>>;
using FileList = std::unique_ptr<sandforge_file_list, FreeWith<sandforge_file_list_free>>;
using Buffer = std::unique_ptr<sandforge_buffer, FreeWith<sandforge_buffer_free>>;

// Where an error of the C ABI lands; usable as its last argument again and again.
class Failure {
 public:
  Failure() = default;
  Failure(const Failure&) = delete;
  Failure& operator=(const Failure&) = delete;
  ~Failure() { sandforge_error_free(error_); }
  sandforge_error** slot() {
    sandforge_error_free(error_);
    error_ = nullptr;
    return &error_;
  }
  std::string reason() const { return sandforge_error_reason(error_); }
  std::string message() const { return sandforge_error_message(error_); }
  std::string remedy() const { return sandforge_error_remedy(error_); }
  sandforge_code code() const { return sandforge_error_code(error_); }

 private:
  sandforge_error* error_ = nullptr;
};

// The backend that is judged ("fake", "linux-qemu", …), and one engine for all cases.
const std::string& backend_name();
sandforge_engine* engine();
bool is_fake();

// A spec for the backend under test, as small as it goes.
sandforge_sandbox_spec small_spec(const char* id = nullptr);
// A fresh sandbox. Destroyed by `Guest`'s end.
class Guest {
 public:
  explicit Guest(const sandforge_sandbox_spec& spec = small_spec());
  ~Guest();
  Guest(const Guest&) = delete;
  Guest& operator=(const Guest&) = delete;
  sandforge_sandbox* get() const { return sandbox_.get(); }

 private:
  Sandbox sandbox_;
};
// One sandbox for all cases that leave nothing behind which others could see.
sandforge_sandbox* shared_guest();

struct Exec {
  std::vector<std::string> argv;
  std::vector<std::string> env = {};
  std::string cwd = {};
  std::string stdin_data = {};
  std::int64_t timeout_ms = 0;
  std::uint64_t output_cap = 0;
  bool stream_stdin = false;
};
// The spec borrows from `exec` and the two vectors.
sandforge_exec_spec exec_spec(const Exec& exec, std::vector<const char*>& argv, std::vector<const char*>& env);
Result run(sandforge_sandbox* sandbox, const Exec& exec);
Process start(sandforge_sandbox* sandbox, const Exec& exec, sandforge_notify_fn notify = nullptr,
              void* user_data = nullptr);
std::string out_of(const Result& result);
std::string err_of(const Result& result);
// Reads a stream to its end.
std::string read_all(sandforge_process* process, std::uint32_t stream);
Result wait_for(sandforge_process* process, std::int64_t timeout_ms = 30'000);

Info info_of(sandforge_sandbox* sandbox);
Sandbox open_sandbox(const std::string& id);
std::string bytes_of(std::size_t count);  // pseudo-random, every value of a byte, the same on every run
void write_file(sandforge_sandbox* sandbox, const std::string& path, std::string_view bytes, std::uint32_t mode = 0);
std::string read_file(sandforge_sandbox* sandbox, const std::string& path);

}  // namespace conformance
