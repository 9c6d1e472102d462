// SPDX-License-Identifier: Apache-2.0
#include "base/result.hpp"

#include <doctest/doctest.h>

using namespace sandforge::base;

namespace {
Result<int> half(int n) {
  if (n % 2 != 0) return make_error(Code::InvalidArgument, "odd", "is odd");
  return n / 2;
}
Result<int> quarter(int n) {
  SANDFORGE_TRY(const int h, half(n));
  return half(h);
}
}  // namespace

TEST_CASE("TRY goes on with the value and hands errors up") {
  CHECK(quarter(8).value() == 2);
  const auto failed = quarter(6);
  REQUIRE_FALSE(failed);
  CHECK(failed.error().code == Code::InvalidArgument);
  CHECK(failed.error().reason == "odd");
}

TEST_CASE("context goes before the message and the code stays") {
  const Error error = os_error("open /x", ENOENT).context("image");
  CHECK(error.message == "image: open /x: No such file or directory");
  CHECK(error.code == Code::NotFound);
  CHECK(error.os_errno == ENOENT);
  CHECK(error.reason == "not_found");
}
