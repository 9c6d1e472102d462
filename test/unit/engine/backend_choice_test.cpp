// SPDX-License-Identifier: Apache-2.0
#include "engine/backend_choice.hpp"

#include <doctest/doctest.h>

using namespace sandforge::engine;
using sandforge::backend::Isolation;
using sandforge::backend::Probe;
using sandforge::base::Code;

namespace {

// A backend that only probes.
class Probed final : public sandforge::backend::Backend {
 public:
  Probed(const char* name, bool available, Isolation isolation) : name_(name) {
    probe_.available = available;
    probe_.isolation = isolation;
    if (!available) probe_.reason = "not here", probe_.remedy = "install it";
  }
  const char* name() const override { return name_; }
  Probe probe() const override { return probe_; }
  sandforge::base::Result<std::unique_ptr<sandforge::backend::Worker>> launch(
      const sandforge::backend::LaunchPlan&) override {
    return sandforge::base::make_error(Code::Internal, {}, "only probes");
  }

 private:
  const char* name_;
  Probe probe_;
};

Backends list(std::initializer_list<std::tuple<const char*, bool, Isolation>> rows) {
  Backends backends;
  for (const auto& [name, available, isolation] : rows) {
    backends.push_back(std::make_unique<Probed>(name, available, isolation));
  }
  return backends;
}

std::string chosen(const Backends& backends, std::string_view name, Isolation least = Isolation::None) {
  auto choice = choose_backend(backends, name, least);
  return choice ? choice->backend->name() : choice.error().reason;
}

}  // namespace

TEST_CASE("auto takes the first that probes well and is strong enough, never one that isolates nothing") {
  const Backends all = list(
      {{"hard", false, Isolation::HardwareVm}, {"soft", true, Isolation::SoftwareVm}, {"none", true, Isolation::None}});
  CHECK(chosen(all, "") == "soft");
  CHECK(chosen(all, "auto") == "soft");
  CHECK(chosen(all, "macos-vz") == "soft");
  CHECK(chosen(all, "auto", Isolation::HardwareVm) == "no_backend");
  CHECK(chosen(list({{"none", true, Isolation::None}}), "auto") == "no_backend");
  CHECK(chosen({}, "auto") == "no_backend");
}

TEST_CASE("when nothing fits, the error says why for each and what to do") {
  const auto choice = choose_backend(list({{"hard", false, Isolation::HardwareVm}}), "auto", Isolation::None);
  REQUIRE_FALSE(choice);
  CHECK(choice.error().code == Code::Unsupported);
  CHECK(choice.error().message.find("hard: not here") != std::string::npos);
  CHECK(choice.error().remedy == "install it");
}

TEST_CASE("a named backend is that one or an error, never another") {
  const Backends all = list({{"hard", false, Isolation::HardwareVm}, {"none", true, Isolation::None}});
  CHECK(chosen(all, "none") == "none");
  CHECK(chosen(all, "none", Isolation::UserKernel) == "isolation_too_low");
  CHECK(chosen(all, "hard") == "backend_unavailable");
  CHECK(chosen(all, "linux-gvisor") == "backend_unavailable");
  CHECK(chosen(all, "nonsense") == "unknown_backend");
  const auto unknown = choose_backend(all, "nonsense", Isolation::None);
  CHECK(unknown.error().message.find("auto, hard, none") != std::string::npos);
}

TEST_CASE("a policy narrows what auto takes, and judges what is named") {
  const Backends all = list({{"linux-kvm", true, Isolation::HardwareVm}, {"linux-qemu", true, Isolation::SoftwareVm}});
  sandforge::policy::Policy policy;
  policy.backends.value = {"linux-qemu"};
  CHECK(choose_backend(all, "auto", Isolation::None, &policy)->backend->name() == std::string("linux-qemu"));
  const auto named = choose_backend(all, "linux-kvm", Isolation::None, &policy);
  CHECK(named.error().reason == "policy_denied");
  CHECK(named.error().rule == "backends.allow");
  policy.min_isolation.value = 3;
  const auto none = choose_backend(all, "auto", Isolation::None, &policy);
  CHECK(none.error().reason == "no_backend");
  CHECK(none.error().message.find("linux-kvm: is not among backends.allow") != std::string::npos);
  policy.backends.value.reset();
  CHECK(choose_backend(all, "macos-vz", Isolation::None, &policy)->backend->name() == std::string("linux-kvm"));
  CHECK(choose_backend(all, "linux-qemu", Isolation::None, &policy).error().rule == "backends.min_isolation");
}
