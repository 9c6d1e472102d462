// SPDX-License-Identifier: Apache-2.0
// "Did you mean …": the known word that a mistyped one was probably meant to be.
#pragma once

#include <span>
#include <string_view>

namespace sandforge::base {

// The known word with the fewest edits from `word`; empty when none is near. A view of an element of `known`.
std::string_view nearest_word(std::string_view word, std::span<const std::string_view> known);

}  // namespace sandforge::base
