// SPDX-License-Identifier: Apache-2.0
// SPEC: Intel 82093AA data sheet, 3.1 (registers); Intel SDM volume 3A, 11.11 (message format).
#include "vmm/platform/io_apic.hpp"

#include <algorithm>
#include <cstring>

namespace sandforge::vmm {
namespace {

constexpr std::uint64_t kSelect = 0x00, kWindow = 0x10;
constexpr std::uint32_t kIdentifier = 0, kVersion = 1, kArbitration = 2, kTable = 0x10;
constexpr std::uint32_t kVersionNumber = 0x11;  // without the EOI register of 0x20

// Redirection entry: vector, delivery mode (3 bits), destination mode, …, mask, destination in the top byte.
constexpr std::uint64_t kVectorAndMode = 0x7ff, kLogical = 1u << 11, kMasked = 1u << 16;
constexpr std::uint64_t kReadOnly = (1u << 12) | (1u << 14);  // delivery status, remote IRR: always 0 here
constexpr std::uint64_t kWritable = (0xffull << 56) | 0x1ffff;

constexpr std::uint32_t kMessageBase = 0xfee00000, kMessageLogical = 1u << 2;

MessageRoute route_of(std::uint32_t gsi, std::uint64_t entry) {
  MessageRoute route;
  route.gsi = gsi;
  route.address = kMessageBase | (static_cast<std::uint32_t>(entry >> 56) << 12);
  if ((entry & kLogical) != 0) route.address |= kMessageLogical;
  route.data = static_cast<std::uint32_t>(entry & kVectorAndMode);  // trigger mode 0: edge
  return route;
}

bool same(const std::vector<MessageRoute>& a, const std::vector<MessageRoute>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](const auto& x, const auto& y) {
           return x.gsi == y.gsi && x.address == y.address && x.data == y.data;
         });
}

}  // namespace

IoApic::IoApic(std::uint32_t pins, SetRoutes set_routes) : pins_(pins, kMasked), set_routes_(std::move(set_routes)) {}

void IoApic::read(std::uint64_t offset, std::span<std::byte> out) {
  std::fill(out.begin(), out.end(), std::byte{0});
  if (out.size() < sizeof(std::uint32_t)) return;
  const std::uint32_t value = offset == kSelect ? select_ : offset == kWindow ? read_register() : 0;
  std::memcpy(out.data(), &value, sizeof value);
}

void IoApic::write(std::uint64_t offset, std::span<const std::byte> in) {
  std::uint32_t value = 0;
  if (in.size() < sizeof value) return;
  std::memcpy(&value, in.data(), sizeof value);
  if (offset == kSelect) select_ = value & 0xff;
  if (offset == kWindow) write_register(value);
}

std::uint32_t IoApic::read_register() const {
  const auto last = static_cast<std::uint32_t>(pins_.size() - 1);
  switch (select_) {
    case kIdentifier:
    case kArbitration: return identifier_;
    case kVersion: return kVersionNumber | (last << 16);
    default: break;
  }
  const std::size_t pin = (select_ - kTable) / 2;
  if (select_ < kTable || pin >= pins_.size()) return 0;
  return static_cast<std::uint32_t>(select_ % 2 == 0 ? pins_[pin] : pins_[pin] >> 32);
}

void IoApic::write_register(std::uint32_t value) {
  if (select_ == kIdentifier) identifier_ = value & 0x0f000000;
  const std::size_t pin = (select_ - kTable) / 2;
  if (select_ < kTable || pin >= pins_.size()) return;
  std::uint64_t& entry = pins_[pin];
  entry = select_ % 2 == 0 ? (entry & ~0xffffffffull) | value : (entry & 0xffffffffull) | (std::uint64_t{value} << 32);
  entry &= kWritable & ~kReadOnly;
  update_routes();
}

// The hypervisor takes the table as a whole, at the cost of a wait: only told when it changed.
void IoApic::update_routes() {
  std::vector<MessageRoute> routes;
  for (std::size_t pin = 0; pin < pins_.size(); ++pin) {
    if ((pins_[pin] & kMasked) == 0) routes.push_back(route_of(static_cast<std::uint32_t>(pin), pins_[pin]));
  }
  if (same(routes, routes_)) return;
  routes_ = std::move(routes);
  set_routes_(routes_);
}

}  // namespace sandforge::vmm
