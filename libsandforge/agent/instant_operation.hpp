// SPDX-License-Identifier: Apache-2.0
// An operation that is done as soon as it starts: clock, entropy, identity, shutdown. Nothing in it may block.
#pragma once

#include <functional>
#include <memory>

#include "agent/stream.hpp"
#include "base/result.hpp"

namespace sandforge::agent {

class InstantOperation final : public Operation {
 public:
  InstantOperation(Stream& stream, std::function<base::Status()> action)
      : stream_(stream), action_(std::move(action)) {}

  void start() override {
    const base::Status done = action_();
    stream_.finish(done ? wire::ResultHeader{} : result_of(done.error()));
  }
  bool end(std::uint8_t) override { return true; }
  void cancel() override {}
  void abandon() override {}

 private:
  Stream& stream_;
  const std::function<base::Status()> action_;
};

inline std::shared_ptr<Operation> instant_operation(Stream& stream, std::function<base::Status()> action) {
  return std::make_shared<InstantOperation>(stream, std::move(action));
}

}  // namespace sandforge::agent
