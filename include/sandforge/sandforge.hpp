// SPDX-License-Identifier: Apache-2.0
// The C++20 API of libsandforge: everything. Header-only over the C ABI, so it carries no ABI of its own; one header
// per object, each can be included alone. Link with libsandforge (pkg-config sandforge).
#pragma once

#include <sandforge/engine.hpp>
#include <sandforge/error.hpp>
#include <sandforge/files.hpp>
#include <sandforge/images.hpp>
#include <sandforge/process.hpp>
#include <sandforge/sandbox.hpp>
#include <sandforge/sandbox_info.hpp>
