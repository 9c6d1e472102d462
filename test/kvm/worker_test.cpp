// SPDX-License-Identifier: Apache-2.0
// Workers of linux-kvm with real guests: the control protocol, limits, endings, and adoption by another process. Needs
// /dev/kvm and an image: kvm-workers IMAGES [doctest options].
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <chrono>
#include <cstdlib>
#include <fstream>
#include <thread>

#include "agent_client/fixture.hpp"
#include "backend/kvm/backend.hpp"
#include "backend/kvm/worker.hpp"
#include "backend/private_disk.hpp"
#include "base/helpers.hpp"
#include "image/store.hpp"

using namespace sandforge;
namespace fs = std::filesystem;

namespace {

fs::path image_folder;

// A sandbox's directory with its disk; removed at the end.
struct Place {
  Place() {
    char name[] = "/tmp/sandforge-workers-XXXXXX";
    REQUIRE(::mkdtemp(name) != nullptr);
    plan.directory = name;
    plan.id = "worker";
    plan.cpus = 2;
    plan.memory_mib = 256;
    const auto store = image::Store::open(image_folder, false);
    REQUIRE(store);
    const auto files = store.value().resolve("default");
    REQUIRE(files);
    const auto agent = base::find_helper("sandforge-agent", {});
    REQUIRE(agent);
    auto initrd = image::make_initrd(files.value(), agent.value(), "/tmp/sandforge-workers-initrd");
    REQUIRE(initrd);
    plan.initrd = initrd.value();
    plan.kernel = files.value().kernel;
    plan.root_image = files.value().root;
    plan.disk = plan.directory / "disk.img";
    REQUIRE(backend::make_private_disk(plan.disk, 64 * limits::kMiB));
  }
  ~Place() { fs::remove_all(plan.directory); }
  backend::LaunchPlan plan;
};

std::unique_ptr<backend::KvmWorker> launch(backend::Backend& backend, const backend::LaunchPlan& plan) {
  auto launched = backend.launch(plan);
  if (!launched) MESSAGE(launched.error().message);
  REQUIRE(launched);
  auto* worker = dynamic_cast<backend::KvmWorker*>(launched.value().release());
  REQUIRE(worker != nullptr);
  return std::unique_ptr<backend::KvmWorker>(worker);
}

bool ends_within(const backend::Worker& worker, int milliseconds) {
  pollfd ended{worker.exited_fd(), POLLIN, 0};
  return ::poll(&ended, 1, milliseconds) == 1;
}

// A session with a worker's agent.
struct Talk {
  explicit Talk(backend::Worker& worker) {
    log.loop = &loop;
    auto socket = worker.connect();
    REQUIRE(socket);
    session = agent_client::start_session(loop, std::move(socket).value(), {"", "", ""}, log);
    REQUIRE(test::run_until(
        loop, [&] { return log.hello.has_value() || log.lost.has_value(); }, kPatience));
    REQUIRE(log.hello);
  }
  wire::ExecResult exec(std::vector<std::string> argv) {
    const auto request = wire::encode_open(wire::Operation::Exec, test::exec_of(std::move(argv)));
    const auto events = test::open_stream(loop, *session, request);
    REQUIRE(test::run_until(
        loop, [&] { return events->result.has_value(); }, kPatience));
    return events->exec();
  }
  static constexpr std::chrono::seconds kPatience{180};
  base::EventLoop loop;
  test::SessionLog log;
  std::unique_ptr<agent_client::Session> session;
};

// What the child of the adoption test does: launches a guest, writes down who it is, and ends without a word.
int launch_and_die(const fs::path& directory, const char* record_file) {
  backend::LaunchPlan plan;
  std::ifstream in(directory / "plan");
  std::string kernel, initrd, root;
  std::getline(in, kernel), std::getline(in, initrd), std::getline(in, root);
  plan.directory = directory;
  plan.kernel = kernel, plan.initrd = initrd, plan.root_image = root, plan.disk = directory / "disk.img";
  plan.memory_mib = 256;
  plan.outlives_engine = true;
  auto launched = backend::make_kvm_backend({})->launch(plan);
  if (!launched) return 3;
  const auto* worker = dynamic_cast<backend::KvmWorker*>(launched.value().release());
  std::ofstream(record_file, std::ios::binary) << wire::encode(worker->record());
  ::_exit(0);  // as a crash: no destructor runs
}

std::string self;

backend::KvmRecord launch_in_other_process(const Place& place) {
  std::ofstream(place.plan.directory / "plan") << place.plan.kernel.string() << "\n"
                                               << place.plan.initrd.string() << "\n"
                                               << place.plan.root_image.string() << "\n";
  const std::string record = place.plan.directory / "record";
  base::SpawnOptions options;
  options.program = self;
  options.args = {"--launch-and-die", place.plan.directory.string(), record};
  options.env = {"SANDFORGE_HELPER_DIR=" + std::string(std::getenv("SANDFORGE_HELPER_DIR")),
                 "LD_LIBRARY_PATH=" + std::string(std::getenv("LD_LIBRARY_PATH"))};
  const auto done = base::run(options);
  REQUIRE(done);
  REQUIRE(done.value().status == 0);
  std::ifstream in(record, std::ios::binary);
  const std::string bytes{std::istreambuf_iterator<char>(in), {}};
  auto decoded = wire::decode<backend::KvmRecord>(bytes);
  REQUIRE(decoded);
  return decoded.value();
}

}  // namespace

TEST_CASE("a paused guest stands still, and goes on where it was") {
  const auto backend = backend::make_kvm_backend({});
  Place place;
  const auto worker = launch(*backend, place.plan);
  Talk talk(*worker);
  CHECK(talk.exec({"/bin/true"}).exit_code == 0);
  for (int round = 0; round < 20; ++round) {
    REQUIRE(worker->pause());
    REQUIRE(worker->pause());  // it is paused: nothing to do
    const auto before = worker->status();
    REQUIRE(before);
    CHECK(before.value().state == vmm::RunState::Paused);
    std::this_thread::sleep_for(std::chrono::milliseconds(round == 0 ? 500 : 1));
    const auto after = worker->status();
    REQUIRE(after);
    CHECK(after.value().exits == before.value().exits);
    REQUIRE(worker->resume());
    const auto running = worker->status();
    REQUIRE(running);
    CHECK(running.value().state == vmm::RunState::Running);
  }
  CHECK(talk.exec({"/bin/true"}).exit_code == 0);
  CHECK(worker->set_balloon(4 * limits::kMiB));
  CHECK(worker->set_balloon(place.plan.memory_mib * limits::kMiB + 1).error().reason == "bad_value");
  // Paused or not, it can be killed at once.
  REQUIRE(worker->pause());
  worker->kill();
  CHECK(ends_within(*worker, 5000));
  CHECK(worker->describe_exit().find("signal 9") != std::string::npos);
}

TEST_CASE("a guest whose engine has died is adopted by another process, and works on") {
  Place place;
  const backend::KvmRecord record = launch_in_other_process(place);
  const auto ids = std::make_shared<backend::GuestIds>();
  backend::KvmRecord other = record;
  other.start_time += 1;  // the number is somebody else's by now
  CHECK(backend::adopt_kvm(other, place.plan.directory, ids).error().reason == "guest_gone");
  other = record;
  other.boot_id = "another life of this host";
  CHECK(backend::adopt_kvm(other, place.plan.directory, ids).error().reason == "guest_gone");
  {
    auto adopted = backend::adopt_kvm(record, place.plan.directory, ids);
    REQUIRE(adopted);
    Talk talk(*adopted.value());
    CHECK(talk.exec({"/bin/sh", "-c", "echo first >/root/mark"}).exit_code == 0);
    adopted.value()->leave();  // as if this process had died too
  }
  auto again = backend::adopt_kvm(record, place.plan.directory, ids);
  REQUIRE(again);
  Talk talk(*again.value());
  CHECK(talk.exec({"/bin/sh", "-c", "grep -q first /root/mark"}).exit_code == 0);
  REQUIRE(again.value()->pause());
  REQUIRE(again.value()->resume());
  again.value()->kill();
  CHECK(ends_within(*again.value(), 5000));
  CHECK(backend::adopt_kvm(record, place.plan.directory, ids).error().reason == "guest_gone");
}

TEST_CASE("a guest that was not told to outlive its engine ends when its owner hangs up") {
  const auto backend = backend::make_kvm_backend({});
  Place place;
  const auto worker = launch(*backend, place.plan);
  CHECK_FALSE(fs::exists(place.plan.directory / backend::kControlSocket));
  Talk{*worker};  // it is up: on a slow host its start takes longer than an answer may
  REQUIRE(worker->status());
  // The descriptor is this process's alone: closing it is what the end of an engine is.
  for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
    std::error_code error;
    const int fd = std::atoi(entry.path().filename().c_str());
    int type = 0;
    socklen_t size = sizeof type;
    if (::getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &size) == 0 && type == SOCK_SEQPACKET) ::shutdown(fd, SHUT_RDWR);
  }
  CHECK(ends_within(*worker, 5000));
  CHECK(worker->describe_exit().find("stopped by its owner") != std::string::npos);
}

TEST_CASE("a guest that dies is told by its descriptor at once, and its neighbour goes on") {
  const auto backend = backend::make_kvm_backend({});
  Place one, two;
  const auto first = launch(*backend, one.plan);
  const auto second = launch(*backend, two.plan);
  if (::geteuid() == 0) CHECK(first->record().user != second->record().user);
  Talk talk(*second);
  ::kill(static_cast<pid_t>(first->record().pid), SIGKILL);
  CHECK(ends_within(*first, 1000));
  CHECK(talk.exec({"/bin/true"}).exit_code == 0);
  if (!second->record().cgroup.empty()) {
    const std::string cgroup = second->record().cgroup;
    std::string limit;
    std::ifstream(cgroup + "/memory.max") >> limit;
    CHECK(std::stoull(limit) > two.plan.memory_mib * limits::kMiB);
    std::string process;
    std::ifstream(cgroup + "/cgroup.procs") >> process;
    CHECK(process == std::to_string(second->record().pid));
    second->kill();
    CHECK(ends_within(*second, 5000));
    (void)second->describe_exit();
  } else {
    MESSAGE("no control groups here");
  }
}

TEST_CASE("a launch that cannot be leaves nothing behind") {
  const auto backend = backend::make_kvm_backend({});
  Place place;
  const auto descriptors = [] { return std::distance(fs::directory_iterator("/proc/self/fd"), {}); };
  const auto before = descriptors();
  std::string why;
  const auto fails = [&](const backend::LaunchPlan& plan) {
    auto launched = backend->launch(plan);
    if (!launched) {
      why = launched.error().message;
      return true;
    }
    const bool ended = ends_within(*launched.value(), 30'000);
    why = launched.value()->describe_exit();
    const auto refusal = launched.value()->refusal();
    CHECK(refusal);
    if (refusal) CHECK_FALSE(refusal->remedy.empty());
    if (refusal) why += " (" + refusal->reason + ")";
    return ended && why.find("was never started") != std::string::npos;
  };
  backend::LaunchPlan plan = place.plan;
  const auto with = [&](auto change) {
    plan = place.plan;
    change();
    fs::remove(plan.directory / backend::kAgentSocket);
    const bool failed = fails(plan);
    INFO(why);
    CHECK(failed);
    CHECK(descriptors() == before);
    return why;
  };
  const fs::path broken = place.plan.directory / "broken";
  const auto write = [&](std::uint64_t bytes, std::string_view text = {}) {
    std::ofstream(broken, std::ios::binary) << text;
    if (text.empty()) fs::resize_file(broken, bytes);
    return broken;
  };
  CHECK(with([&] { plan.kernel = write(0, "#!/bin/sh\n"); }).find("kernel") != std::string::npos);
  CHECK(with([&] { plan.initrd = write(300 * limits::kMiB); }).find("memory_too_small") != std::string::npos);
  CHECK(with([&] { plan.disk = write(0); }).find("disk") != std::string::npos);
  CHECK(with([&] { plan.root_image = write(0); }).find("root") != std::string::npos);
  CHECK(with([&] { plan.kernel = plan.directory; }).find("regular file") != std::string::npos);
  CHECK(with([&] { plan.kernel = plan.directory / "none"; }).find("none") != std::string::npos);
  CHECK(with([&] { plan.cpus = 33; }).find("vCPU") != std::string::npos);
  CHECK(with([&] { plan.memory_mib = 1; }).find("memory") != std::string::npos);
  const auto gone = backend::make_kvm_backend({.helper_directory = {}, .device = "/dev/kvm-vanished"})->launch(plan);
  REQUIRE_FALSE(gone);
  CHECK(gone.error().code == base::Code::NotFound);
  CHECK_FALSE(gone.error().remedy.empty());
}

int main(int argc, char** argv) {
  self = fs::canonical("/proc/self/exe");
  if (argc == 4 && std::string_view(argv[1]) == "--launch-and-die") return launch_and_die(argv[2], argv[3]);
  if (argc < 2) return 2;
  image_folder = argv[1];
  doctest::Context context(argc - 1, argv + 1);
  return context.run();
}
