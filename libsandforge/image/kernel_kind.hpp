// SPDX-License-Identifier: Apache-2.0
// Where the kernel of an image comes from.
#pragma once

#include <optional>
#include <string_view>

namespace sandforge::image {

enum class KernelKind {
  Stock,  // the distribution's package, as it is
  Built,  // compiled from the distribution's source with our own configuration
  Given,  // a file of the user
};

constexpr std::string_view name_of(KernelKind kind) noexcept {
  switch (kind) {
    case KernelKind::Stock: return "stock";
    case KernelKind::Built: return "built";
    case KernelKind::Given: return "given";
  }
  return {};
}

constexpr std::optional<KernelKind> kernel_kind_of(std::string_view name) noexcept {
  for (const KernelKind kind : {KernelKind::Stock, KernelKind::Built, KernelKind::Given}) {
    if (name == name_of(kind)) return kind;
  }
  return std::nullopt;
}

}  // namespace sandforge::image
