// SPDX-License-Identifier: Apache-2.0
// POST /v1/sandboxes: a create that waits for its guest without holding a thread.
#include <sandforge/sandbox.hpp>

#include <optional>

#include "server/json_in.hpp"
#include "server/json_out.hpp"
#include "server/routes.hpp"
#include "server/url.hpp"

namespace sandforge::server {
namespace {

// What the library refuses of a spec is 422 here, so that 404 keeps meaning "no such sandbox".
Reply create_error(const Error& error) {
  switch (error.code()) {
    case SANDFORGE_INVALID_ARGUMENT:
      return error_reply(InvalidArgument("invalid_spec", error.what(), error.remedy(), error.os_errno(), error.rule()));
    case SANDFORGE_NOT_FOUND: {
      Reply reply = error_reply(error);
      reply.status = 422;
      return reply;
    }
    case SANDFORGE_CONFLICT:
      if (error.reason() != "id_taken") return error_reply(error);
      return error_reply(409, error.reason(), "sandbox ID already exists", error.remedy());
    default: return error_reply(error);
  }
}

// Loop thread, but for begin(). The notification of the engine holds no part of the task: it goes to the loop first.
class CreateTask : public Deferred, public std::enable_shared_from_this<CreateTask> {
 public:
  CreateTask(Context& context, std::shared_ptr<Exchange> exchange)
      : context_(context), exchange_(std::move(exchange)) {}

  // Worker thread.
  void begin(const SandboxSpec& spec) {
    const auto notify = [poster = exchange_->poster(), weak = weak_from_this()] {
      poster([weak] {
        if (const auto task = weak.lock()) task->advance();
      });
    };
    sandbox_.emplace(Sandbox::create_begin(*context_.engine, spec, notify));
  }

  void attached() override {
    attached_ = true;
    advance();
  }

  void cancel() override {
    done_ = true;
    if (sandbox_) context_.destroy_later(*std::move(sandbox_));
    sandbox_.reset();
  }

 private:
  void advance() {
    if (!attached_ || done_) return;
    const auto self = shared_from_this();  // reply() lets go of the task
    Reply reply;
    try {
      if (!sandbox_->wait(std::chrono::milliseconds(0))) return;
      JsonWriter json;
      write_info(json, sandbox_->info());
      reply.status = 201;
      reply.body = json.take();
      reply.headers.emplace_back("Location", "/v1/sandboxes/" + sandbox_->id());
    } catch (const Error& error) {
      reply = create_error(error);
    }
    done_ = true;
    exchange_->reply(std::move(reply));
  }

  Context& context_;
  const std::shared_ptr<Exchange> exchange_;
  std::optional<Sandbox> sandbox_;
  bool attached_ = false;  // from here on the loop thread has the task
  bool done_ = false;
};

}  // namespace

Answer create_sandbox(Context& context, Exchange& exchange, const std::string&) {
  const SandboxSpec spec = read_create_body(exchange.request().body);
  if (!spec.id.empty() && !is_valid_id(spec.id)) {
    throw InvalidArgument("invalid_id", "invalid sandbox id",
                          "use letters, digits, '_', '.' and '-', at most 128, the first a letter or digit");
  }
  try {
    auto task = std::make_shared<CreateTask>(context, exchange.shared_from_this());
    task->begin(spec);
    return task;
  } catch (const Error& error) {
    return create_error(error);
  }
}

}  // namespace sandforge::server
