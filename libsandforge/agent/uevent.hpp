// SPDX-License-Identifier: Apache-2.0
// Kernel device events: waiting until a device is there without polling.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "base/result.hpp"
#include "base/unique_fd.hpp"

namespace sandforge::agent {

// A netlink socket that hears of every device from now on. To be opened before the first look at /sys.
base::Result<base::UniqueFd> open_uevents();

// Calls `found` now and again after each batch of device events until it says true. BLOCKS for at most `timeout_ms`;
// timed_out with `what` in its message after that.
base::Status wait_for_device(int uevents, std::string_view what, int timeout_ms, const std::function<bool()>& found);

// The name of the block device whose virtio serial is `serial`, e.g. "vda"; empty when there is none yet.
std::string find_block_device(std::string_view serial);
// The name of the virtio-serial port called `name`, e.g. "vport0p1"; empty when there is none yet.
std::string find_virtio_port(std::string_view name);

}  // namespace sandforge::agent
