// SPDX-License-Identifier: Apache-2.0
#include "engine/operation.hpp"

#include "engine/core.hpp"
#include "engine/sandbox.hpp"

namespace sandforge::engine {

Operation::Operation(std::shared_ptr<Sandbox> sandbox, Kind kind, std::string request)
    : sandbox_(std::move(sandbox)), kind_(kind), request_(std::move(request)) {}

Core& Operation::core() noexcept { return *sandbox_->core(); }

base::Status Operation::post_self(std::function<void()> task) {
  if (core().post([self = shared_from_this(), task = std::move(task)] { task(); })) return {};
  return Core::closed_error();
}

base::Status Operation::begin() {
  SANDFORGE_TRY_STATUS(sandbox_->check_ready());
  SANDFORGE_TRY_STATUS(may_begin());
  return post_self([this] { sandbox_->open(shared_from_this()); });
}

base::Status Operation::begin_at_once() {
  SANDFORGE_TRY_STATUS(sandbox_->check_ready());
  SANDFORGE_TRY_STATUS(may_begin());
  if (core().run_or_post([self = shared_from_this()] { self->sandbox_->open(self); })) return {};
  return Core::closed_error();
}

void Operation::open_on(agent_client::Session& session) {
  auto stream = session.open(std::move(request_), *this);
  if (!stream) {
    detach();
    on_failed(std::move(stream).error());
    return;
  }
  stream_ = std::move(stream).value();
  on_opened();
}

void Operation::detach() {
  const auto self = shared_from_this();  // the sandbox's hold may be the last
  stream_.reset();
  sandbox_->forget(*this);
}

}  // namespace sandforge::engine
