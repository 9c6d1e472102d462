// SPDX-License-Identifier: Apache-2.0
#include "agent_client/rules.hpp"

namespace sandforge::agent_client {
namespace {

template <typename Message>
bool decodes(std::string_view bytes) {
  return static_cast<bool>(wire::decode<Message>(bytes));
}
constexpr std::uint8_t bit(std::uint8_t channel) { return static_cast<std::uint8_t>(1u << channel); }

}  // namespace

OperationRules rules_of(wire::Operation operation) noexcept {
  using wire::Operation;
  switch (operation) {
    case Operation::Exec:
      return {static_cast<std::uint8_t>(bit(wire::kStdout) | bit(wire::kStderr)), bit(wire::kStdin), true,
              decodes<wire::Started>, decodes<wire::ExecResult>};
    case Operation::FileRead: return {bit(wire::kContent), 0, false, decodes<wire::FileInfo>, nullptr};
    case Operation::FileWrite: return {0, bit(wire::kContent), false, nullptr, decodes<wire::FileInfo>};
    case Operation::FileList: return {bit(wire::kContent), 0, false, nullptr, nullptr};
    case Operation::FileStat: return {0, 0, false, nullptr, decodes<wire::FileInfo>};
    case Operation::FileRemove:
    case Operation::FileRename:
    case Operation::MakeDirectory:
    case Operation::SetClock:
    case Operation::AddEntropy:
    case Operation::SetIdentity:
    case Operation::Shutdown:
    case Operation::Mount:
    case Operation::Unmount: return {};
  }
  return {};
}

base::Result<wire::ResultHeader> decode_result(const OperationRules& rules, std::string_view payload) {
  SANDFORGE_TRY(auto result, wire::decode<wire::ResultHeader>(payload));
  const bool fits = rules.body_ok ? (result.body.empty() ? result.code != base::Code::Ok : rules.body_ok(result.body))
                                  : result.body.empty();
  if (!fits) return base::make_error(base::Code::Corrupt, "bad_message", "wire protocol: malformed Result body");
  return result;
}

}  // namespace sandforge::agent_client
