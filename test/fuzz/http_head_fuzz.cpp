// SPDX-License-Identifier: Apache-2.0
// The request head, the target and the body decoder, fed as a connection feeds them: whole, and in two parts, which
// must come to the same.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/chunked.hpp"
#include "server/guard.hpp"
#include "server/head.hpp"
#include "server/url.hpp"

using namespace sandforge::server;

namespace {

void require(bool fine) {
  if (!fine) std::abort();
}

struct Outcome {
  std::size_t kind = 0;
  std::size_t length = 0;
  bool operator==(const Outcome&) const = default;
};

Outcome find(std::string_view text, std::size_t split) {
  HeadFinder finder;
  auto found = finder.find(text.substr(0, split));
  if (found.index() == 0) found = finder.find(text);
  const auto* length = std::get_if<std::size_t>(&found);
  return {found.index(), length == nullptr ? 0 : *length};
}

std::pair<BodyDecoder::Status, std::string> decode(const Head& head, std::string_view text, std::size_t split) {
  BodyDecoder decoder(head);
  std::string body;
  std::string_view first = text.substr(0, split);
  auto status = decoder.feed(first, body, 1000);
  std::string rest(first);
  rest += text.substr(split);
  std::string_view second = rest;
  while (status == BodyDecoder::Status::NeedMore) {
    const std::size_t before = second.size();
    status = decoder.feed(second, body, 1000);
    if (second.size() == before) break;
  }
  return {status, body};
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::size_t split = data[0] % size;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const Outcome whole = find(text, text.size());
  require(whole == find(text, std::min(split, text.size())));
  if (whole.kind != 1) return 0;
  const auto parsed = parse_head(text.substr(0, whole.length));
  const auto* head = std::get_if<Head>(&parsed);
  if (head == nullptr) return 0;
  require(!head->method.empty() && !head->target.empty());
  if (const auto target = parse_target(head->target)) {
    const std::string closed = target->path + "/";
    require(closed.find('%') == std::string::npos && closed.find("/../") == std::string::npos);
    static_cast<void>(Query(target->query).find("path"));
  }
  const Tokens tokens{{"0123456789abcdef"}};
  static_cast<void>(check_caller(*head, "/v1/info", ListenerKind::Loopback, &tokens));
  const std::string_view rest = text.substr(whole.length);
  require(decode(*head, rest, rest.size()) == decode(*head, rest, std::min(split, rest.size())));
  return 0;
}
