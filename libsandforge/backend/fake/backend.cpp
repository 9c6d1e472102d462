// SPDX-License-Identifier: Apache-2.0
#include "backend/fake/backend.hpp"

#include <string_view>
#include <utility>

#include "backend/fake/guest.hpp"

namespace sandforge::backend {
namespace {

class FakeWorker final : public Worker {
 public:
  explicit FakeWorker(std::unique_ptr<fake::FakeGuest> guest) : guest_(std::move(guest)) {}

  base::Result<base::UniqueFd> connect() override { return guest_->attach(); }
  int exited_fd() const override { return guest_->ended_fd(); }
  std::string describe_exit() override { return guest_->how_it_ended(); }
  void kill() override { guest_->stop(); }

 private:
  std::unique_ptr<fake::FakeGuest> guest_;
};

fake::Script script_of(std::string_view id) {
  static constexpr std::pair<std::string_view, fake::Script> kScripts[] = {
      {"fake-fail-hello", fake::Script::FailHello}, {"fake-bad-version", fake::Script::BadVersion},
      {"fake-garbage", fake::Script::Garbage},      {"fake-die-on-exec", fake::Script::DieOnExec},
      {"fake-silent", fake::Script::Silent},        {"fake-bad-timer", fake::Script::BadTimer},
  };
  for (const auto& [prefix, script] : kScripts) {
    if (id.substr(0, prefix.size()) == prefix) return script;
  }
  return fake::Script::None;
}

class FakeBackend final : public Backend {
 public:
  const char* name() const override { return "fake"; }

  Probe probe() const override {
    Probe probe;
    probe.available = true;
    probe.isolation = Isolation::None;
    probe.detail = "in-memory, for tests: no isolation, no real commands";
    probe.uses_images = false;
    return probe;
  }

  base::Result<std::unique_ptr<Worker>> launch(const LaunchPlan& plan) override {
    if (plan.id.rfind("fake-fail-launch", 0) == 0) {
      return base::make_error(base::Code::Internal, "launch_failed", "the fake backend fails, as the id asks");
    }
    fake::Script script = script_of(plan.id);
    if (plan.id.rfind("fake-bad-timer-once", 0) == 0 && std::exchange(failed_once_, true)) script = fake::Script::None;
    auto guest = std::make_unique<fake::FakeGuest>(script, plan.id.substr(0, 64));
    SANDFORGE_TRY_STATUS(guest->start());
    return std::unique_ptr<Worker>(std::make_unique<FakeWorker>(std::move(guest)));
  }

 private:
  bool failed_once_ = false;  // loop thread
};

}  // namespace

std::unique_ptr<Backend> make_fake_backend() { return std::make_unique<FakeBackend>(); }

}  // namespace sandforge::backend
