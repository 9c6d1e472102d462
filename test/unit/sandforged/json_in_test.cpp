// SPDX-License-Identifier: Apache-2.0
#include "server/json_in.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace sandforge;
using namespace sandforge::server;

namespace {

SandboxSpec create(std::string json) { return read_create_body(json); }
ExecSpec exec(std::string json) { return read_exec_body(json); }
WriteBody write(std::string json) { return read_write_body(json); }

template <typename Function>
std::string refusal(Function&& function) {
  try {
    function();
  } catch (const InvalidArgument& error) {
    CHECK(error.reason() == kInvalidBody);
    return error.what();
  }
  return "accepted";
}

}  // namespace

TEST_CASE("a full create body is read") {
  const SandboxSpec spec = create(R"({"id":"a","spec":{"backend":"fake","cpu":4,"memory_mb":1024,"disk_gb":5,
    "timeout_sec":60,"network_mode":"fetch","task_isolation":"process","image":"x",
    "mounts":[{"host_path":"/h","guest_path":"/g","read_only":true}]}})");
  CHECK(spec.id == "a");
  CHECK(spec.backend == "fake");
  CHECK(spec.cpu == 4);
  CHECK(spec.memory_mb == 1024);
  CHECK(spec.disk_gb == 5);
  CHECK(spec.timeout_sec == 60);
  CHECK(spec.network_mode == "fetch");
  CHECK(spec.task_isolation == "process");
  REQUIRE(spec.mounts.size() == 1);
  CHECK(spec.mounts[0].host_path == "/h");
  CHECK(spec.mounts[0].read_only);
}

TEST_CASE("keys are accepted in camelCase, unknown ones ignored, null is absent, the last duplicate wins") {
  const SandboxSpec spec = create(R"({"x":[{}],"spec":{"memoryMb":1,"memoryMB":2,"timeoutSec":null,"cpu":1,"cpu":3,
    "diskGb":7,"networkMode":"full","y":null}})");
  CHECK(spec.memory_mb == 2);
  CHECK(spec.timeout_sec == 0);
  CHECK(spec.cpu == 3);
  CHECK(spec.disk_gb == 7);
  CHECK(spec.network_mode == "full");
  CHECK(create(R"({"id":null,"spec":null})").id.empty());
  CHECK(create(R"({"id":"a","spec":{"cpu":2},"id":"b"})").id == "b");
  CHECK(create(R"({"id":"a","spec":{"cpu":2}})").cpu == 2);
}

TEST_CASE("bodies that are no JSON object of the right types are refused with the reason") {
  for (const char* json : {"",
                           "{",
                           "[]",
                           "null",
                           "1",
                           "\"x\"",
                           "{\"id\":1}",
                           "{\"id\":[]}",
                           "{\"spec\":[]}",
                           "{\"spec\":{\"cpu\":\"2\"}}",
                           "{\"spec\":{\"cpu\":1.5}}",
                           "{\"spec\":{\"cpu\":true}}",
                           "{\"spec\":{\"cpu\":1e300}}",
                           "{\"spec\":{\"cpu\":9223372036854775808}}",
                           "{\"spec\":{\"cpu\":99999999999999999999999}}",
                           "{\"spec\":{\"mounts\":{}}}",
                           "{\"spec\":{\"mounts\":[1]}}",
                           "{\"spec\":{\"mounts\":[{\"read_only\":1}]}}",
                           "{\"id\":\"a\\u0000b\"}",
                           "{\"id\":\"a\"} x",
                           "{\"id\":\"a\",}",
                           "{'id':'a'}",
                           "{\"id\":\"\xff\"}",
                           "{\"x\":NaN}",
                           "{\"x\":01}",
                           "{\"x\":\"\\ud800\"}"}) {
    CAPTURE(json);
    CHECK(refusal([&] { create(json); }).starts_with("invalid request body: "));
  }
}

TEST_CASE("whole numbers written as decimals are whole") { CHECK(create(R"({"spec":{"cpu":2.0}})").cpu == 2); }

TEST_CASE("deep nesting is refused, not followed") {
  const std::string deep = "{\"x\":" + std::string(1'000'000, '[') + std::string(1'000'000, ']') + "}";
  CHECK(refusal([&] { create(deep); }).starts_with("invalid request body: "));
}

TEST_CASE("an exec body is read") {
  const ExecSpec spec = exec(R"({"command":["sh","-c","x"],"env":{"A":"1","B":null,"A":"2"},"cwd":"/tmp",
    "timeoutSec":30,"stdin":"aGk=","user":"nobody"})");
  CHECK(spec.argv == std::vector<std::string>{"sh", "-c", "x"});
  REQUIRE(spec.env.size() == 1);
  CHECK(spec.env[0].second == "2");
  CHECK(spec.cwd == "/tmp");
  CHECK(spec.timeout.count() == 30'000);
  CHECK(spec.stdin_data == "hi");
  CHECK(spec.user == "nobody");
}

TEST_CASE("absurd time-outs do not overflow") {
  CHECK(exec(R"({"timeout_sec":9223372036854775807})").timeout.count() > 0);
  CHECK(exec(R"({"timeout_sec":-9223372036854775808})").timeout.count() < 0);
}

TEST_CASE("exec bodies with wrong types or NUL are refused") {
  for (const char* json :
       {R"({"command":"ls"})", R"({"command":[1]})", R"({"command":[null]})", R"({"command":["a\u0000b"]})",
        R"({"env":[]})", R"({"env":{"A":1}})", R"({"env":{"A=B":"1"}})", R"({"env":{"":"1"}})",
        R"({"env":{"A\u0000":"1"}})", R"({"cwd":1})", R"({"stdin":"%"})", R"({"stdin":{}})"}) {
    CAPTURE(json);
    CHECK(refusal([&] { exec(json); }) != "accepted");
  }
}

TEST_CASE("a list or a map of more entries than the library takes is refused while it is read") {
  std::string list = R"({"command":["true")";
  std::string map = R"({"env":{"A":"")";
  for (int i = 1; i < 4096; ++i) {
    list += R"(,"")";
    map += ",\"A" + std::to_string(i) + "\":\"\"";
  }
  CHECK(exec(list + "]}").argv.size() == 4096);
  CHECK(exec(map + "}}").env.size() == 4096);
  CHECK(refusal([&] { exec(list + R"(,""]})"); }) == "invalid request body: 'command' has more than 4096 entries");
  CHECK(refusal([&] { exec(map + R"(,"B":""}})"); }) == "invalid request body: 'env' has more than 4096 entries");
}

TEST_CASE("bytes are accepted as base64 and as numbers") {
  CHECK(write(R"({"guest_path":"/a","data":"AAH/"})").data == std::string("\x00\x01\xff", 3));
  CHECK(write(R"({"guestPath":"/a","data":[0,1,255]})").data == std::string("\x00\x01\xff", 3));
  CHECK(write(R"({"guest_path":"/a","data":[]})").data.empty());
  CHECK(write(R"({"guest_path":"/a","data":null})").path == "/a");
  for (const char* json : {R"({"data":[256]})", R"({"data":[-1]})", R"({"data":[1.5]})", R"({"data":["a"]})",
                           R"({"data":"a"})", R"({"data":1})", R"({"mode":-1})", R"({"mode":4294967296})"}) {
    CAPTURE(json);
    CHECK(refusal([&] { write(json); }) != "accepted");
  }
}
