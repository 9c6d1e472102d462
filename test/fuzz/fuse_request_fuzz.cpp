// SPDX-License-Identifier: Apache-2.0
// Fuzz target: FUSE messages of a guest. Whatever parses must keep every promise of the table of opcodes.
#include <algorithm>
#include <cstdlib>

#include "base/limits.hpp"
#include "fsd/protocol/request.hpp"

namespace {

using namespace sandforge;

void demand(bool held) {
  if (!held) std::abort();
}

void check_good(const fsd::Request& request) {
  demand(request.opcode != nullptr && request.fixed.size() >= request.opcode->body);
  for (std::size_t i = 0; i < 2; ++i) {
    const fsd::Text kind = request.opcode->texts[i];
    if (kind == fsd::Text::None) continue;
    const std::string_view text = request.texts[i];
    demand(text.data()[text.size()] == '\0' && text.find('\0') == std::string_view::npos);
    if (kind == fsd::Text::Name) demand(fsd::check_name(text) == 0 && text.size() <= 255);
    demand(text.size() < limits::kPathMax);
  }
  std::uint64_t sum = 0;
  if (request.opcode->tail == fsd::Tail::Forgets) {
    for (std::size_t i = 0; i < request.forget_count(); ++i) sum += request.forget(i).nlookup;
  }
  for (const std::byte one : request.data) sum += static_cast<std::uint64_t>(one);
  volatile std::uint64_t read = sum;
  (void)read;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // SAFETY: bytes seen as bytes.
  const std::span<const std::byte> message(reinterpret_cast<const std::byte*>(data), size);
  const fsd::Parsed parsed = fsd::parse(message);
  if (parsed.verdict == fsd::Parsed::Verdict::Good) check_good(parsed.request);
  if (parsed.verdict == fsd::Parsed::Verdict::Refused) demand(parsed.error > 0 && parsed.error < 512);
  return 0;
}
