// SPDX-License-Identifier: Apache-2.0
#include "fsd/protocol/reply.hpp"

#include <doctest/doctest.h>

#include <vector>

using sandforge::fsd::Reply;

namespace {

fuse_out_header header_of(std::span<const std::byte> message) {
  fuse_out_header header{};
  std::memcpy(&header, message.data(), sizeof header);
  return header;
}

}  // namespace

TEST_CASE("an answer is its header and what was appended") {
  std::vector<std::byte> space(64);
  Reply reply(space, 9, 48);
  CHECK(reply.append(fuse_open_out{5, 0, 0}));
  const auto message = reply.finish();
  CHECK(message.size() == 32);
  CHECK(header_of(message).len == 32);
  CHECK(header_of(message).error == 0);
  CHECK(header_of(message).unique == 9);
}

TEST_CASE("an answer never grows beyond its opcode's cap, the guest's, or the buffer") {
  std::vector<std::byte> space(64);
  CHECK_FALSE(Reply(space, 1, 8).append(fuse_open_out{}));
  CHECK_FALSE(Reply(std::span(space).first(24), 1, 1000).append(fuse_open_out{}));
  Reply reply(space, 1, 1000);
  reply.limit(20);
  CHECK(reply.append(fuse_open_out{}));
  CHECK_FALSE(reply.append(fuse_open_out{}));
  CHECK(reply.room().size() == 4);
  reply.grow(1000);
  CHECK(reply.finish().size() == 36);
  Reply shrunk(space, 1, 1000);
  CHECK(shrunk.append(fuse_open_out{}));
  shrunk.limit(3);  // below what is there already: nothing more, nothing less
  CHECK(shrunk.body_bytes() == 16);
  CHECK(shrunk.room().empty());
}

TEST_CASE("an error is a header alone, with an errno that kernels take") {
  std::vector<std::byte> space(64);
  for (const auto& [given, sent] :
       {std::pair{2, -2}, std::pair{511, -511}, std::pair{512, -EIO}, std::pair{-1, -EIO}}) {
    Reply reply(space, 3, 48);
    CHECK(reply.append(fuse_open_out{}));
    const auto message = reply.finish(given);
    CHECK(message.size() == sizeof(fuse_out_header));
    CHECK(header_of(message).error == sent);
  }
}
