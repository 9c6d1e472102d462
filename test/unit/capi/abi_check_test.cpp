// SPDX-License-Identifier: Apache-2.0
#include "capi/abi_check.hpp"

#include <doctest/doctest.h>
#include <sandforge/sandforge.h>

#include <cstddef>
#include <stdexcept>
#include <string>

#include "capi/guard.hpp"

using sandforge::base::Code;
using sandforge::capi::read_struct;

namespace {

struct Newer {
  sandforge_sandbox_spec known;
  std::uint64_t unknown[2];
};

}  // namespace

TEST_CASE("no struct means all defaults") {
  const auto spec = read_struct<sandforge_sandbox_spec>(nullptr, "spec");
  REQUIRE(spec);
  CHECK(spec.value().size == sizeof(sandforge_sandbox_spec));
  CHECK(spec.value().cpu == 0);
}

TEST_CASE("a shorter struct of an older header is filled up with zeros") {
  sandforge_sandbox_spec given = SANDFORGE_SANDBOX_SPEC_INIT;
  given.cpu = 3;
  given.memory_mb = 77;
  given.size = offsetof(sandforge_sandbox_spec, memory_mb);
  const auto spec = read_struct(&given, "spec");
  REQUIRE(spec);
  CHECK(spec.value().cpu == 3);
  CHECK(spec.value().memory_mb == 0);
  CHECK(spec.value().size == sizeof(sandforge_sandbox_spec));
}

TEST_CASE("a longer struct of a newer header is taken when its tail is zero, and unsupported otherwise") {
  Newer given{};
  given.known.size = sizeof(Newer);
  given.known.cpu = 5;
  const auto spec = read_struct(&given.known, "spec");
  REQUIRE(spec);
  CHECK(spec.value().cpu == 5);
  given.unknown[1] = 1;
  const auto refused = read_struct(&given.known, "spec");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::Unsupported);
}

TEST_CASE("a struct without a size is an invalid argument that names the macro") {
  sandforge_sandbox_spec given{};
  const auto refused = read_struct(&given, "sandforge_sandbox_spec");
  REQUIRE_FALSE(refused);
  CHECK(refused.error().code == Code::InvalidArgument);
  CHECK(refused.error().message.find("_INIT") != std::string::npos);
}

TEST_CASE("exceptions of the standard library stop at the guard") {
  sandforge_error* error = nullptr;
  CHECK(sandforge::capi::guard(&error, []() -> sandforge::base::Status { throw std::bad_alloc(); }) ==
        SANDFORGE_EXHAUSTED);
  CHECK(sandforge_error_code(error) == SANDFORGE_EXHAUSTED);
  CHECK(std::string(sandforge_error_reason(error)) == "out_of_memory");
  sandforge_error_free(error);
  CHECK(sandforge::capi::guard(&error, []() -> sandforge::base::Status { throw std::runtime_error("oops"); }) ==
        SANDFORGE_INTERNAL);
  CHECK(std::string(sandforge_error_message(error)) == "oops");
  sandforge_error_free(error);
  CHECK(sandforge::capi::guard(nullptr, []() -> sandforge::base::Status { throw 1; }) == SANDFORGE_INTERNAL);
}

TEST_CASE("an error has a reason even when its maker gave none, and a missing one reads as ok") {
  sandforge_error* error = nullptr;
  (void)sandforge::capi::give_error(&error, sandforge::base::make_error(Code::Busy, {}, "later"));
  CHECK(std::string(sandforge_error_reason(error)) == "busy");
  sandforge_error_free(error);
  CHECK(sandforge_error_code(nullptr) == SANDFORGE_OK);
  CHECK(std::string(sandforge_error_message(nullptr)).empty());
  sandforge_error_free(nullptr);
}

TEST_CASE("NULL where an object is needed is an invalid argument") {
  sandforge_error* error = nullptr;
  CHECK(sandforge_sandbox_exec(nullptr, nullptr, nullptr, &error) == SANDFORGE_INVALID_ARGUMENT);
  CHECK(std::string(sandforge_error_reason(error)) == "null_argument");
  sandforge_error_free(error);
  CHECK(sandforge_engine_create(nullptr, nullptr, nullptr) == SANDFORGE_INVALID_ARGUMENT);
  CHECK(sandforge_process_read(nullptr, 1, nullptr, 1, 0, nullptr, nullptr) == SANDFORGE_INVALID_ARGUMENT);
  sandforge_engine_free(nullptr);
  sandforge_sandbox_free(nullptr);
  sandforge_process_free(nullptr);
  sandforge_file_free(nullptr);
}
