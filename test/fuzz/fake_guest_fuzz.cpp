// SPDX-License-Identifier: Apache-2.0
// Bytes of a host into the fake guest's agent: a test double that crashes would hide what it is there to show.
#include <cstdint>
#include <string>

#include "backend/fake/agent.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace sandforge;
  if (size < 1) return 0;
  backend::fake::GuestState guest;
  backend::fake::FakeAgent agent(guest, wire::kVersion);
  std::string welcome;
  wire::append_frame(welcome, wire::FrameType::Welcome, 0, 0, wire::encode(wire::Welcome{}));
  if (!agent.receive(welcome)) return 0;
  const std::size_t piece = 1 + std::size_t{data[0]} * 16;
  // SAFETY: any bytes may be looked at as char.
  const std::string_view bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  for (std::size_t at = 0; at < bytes.size(); at += piece) {
    if (!agent.receive(bytes.substr(at, piece))) return 0;
    for (int turns = 0; turns < 8 && agent.advance(); ++turns) agent.out().clear();
  }
  return 0;
}
