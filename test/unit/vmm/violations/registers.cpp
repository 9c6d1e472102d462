// SPDX-License-Identifier: Apache-2.0
// Violations of the transport's registers and of the order in which a device is brought up.
#include "vmm/violations/block_bench.hpp"
#include "vmm/violations/vsock_bench.hpp"

namespace sandforge::vmm::test {
namespace {

using namespace reg;
using namespace status;

constexpr std::uint32_t kUp = kAcknowledge | kDriver | kFeaturesOk | kDriverOk;

std::string hex(std::uint64_t value) {
  char text[20];
  std::snprintf(text, sizeof text, "0x%03llx", static_cast<unsigned long long>(value));
  return text;
}

// What the registers tell, so that a row can say that nothing changed.
std::string picture(Bench& bench) {
  std::string out;
  for (std::uint32_t at = 0; at < kConfig; at += 4) out += bench.read_wide(at, 4);
  return out;
}

template <typename B>
void add_widths(Rows<B>& rows) {
  // Each register, and each reserved word between them: no width but four at its address means anything.
  for (std::uint32_t at = 0; at < kConfig; at += 4) {
    rows.push_back({"odd accesses at " + hex(at) + " read zero and change nothing", [at](B& bench) {
                      const std::string before = picture(bench);
                      for (const std::size_t width : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u}) {
                        for (std::uint32_t shift = 0; shift < 4; ++shift) {
                          if (width == 4 && shift == 0) continue;
                          CHECK(bench.read_wide(at + shift, width) == std::string(width, '\0'));
                          for (const unsigned fill : {0x00u, 0x01u, 0xffu}) bench.write_wide(at + shift, width, fill);
                        }
                      }
                      CHECK(picture(bench) == before);
                    }});
  }
}

void add_values(Rows<BlockBench>& rows) {
  // Read-only and reserved words take nothing. What the device's driver may write is tried by the rows below.
  for (std::uint32_t at = 0; at < kConfig; at += 4) {
    const bool written = at == kDeviceFeaturesSelect || at == kDriverFeaturesSelect || at == kQueueSelect ||
                         at == kQueueNotify || at == kInterruptAck || at == kStatus;
    if (written) continue;
    rows.push_back({"writes to " + hex(at) + " of a device that is up change nothing", [at](BlockBench& bench) {
                      const std::string before = picture(bench);
                      for (unsigned bit = 0; bit < 32; ++bit) {
                        bench.write(at, 1u << bit);
                        bench.write(at, ~(1u << bit));
                      }
                      for (const std::uint32_t value : {0u, 0xffffffffu}) bench.write(at, value);
                      CHECK(picture(bench) == before);
                      bench.use();  // without a reset
                    }});
  }
  rows.push_back({"every value of QueueNotify is harmless", [](BlockBench& bench) {
                    for (unsigned bit = 0; bit < 32; ++bit) {
                      bench.kick(1u << bit);
                      bench.kick(~(1u << bit));
                    }
                    CHECK_FALSE(bench.broken());
                    bench.use();
                  }});
  rows.push_back({"a QueueNotify before the device is up does nothing", [](BlockBench& bench) {
                    bench.write(kStatus, 0);
                    bench.kick(0);
                    CHECK(bench.driver.negotiate(*bench.transport));
                    bench.kick(0);
                    CHECK(bench.interrupts == 0);
                  }});
  rows.push_back({"a QueueNotify after a failure does nothing", [](BlockBench& bench) {
                    bench.driver.set_available(0, 999);
                    bench.kick(0);
                    REQUIRE(bench.broken());
                    const int interrupts = bench.interrupts;
                    for (int i = 0; i < 1000; ++i) bench.kick(0);
                    CHECK(bench.interrupts == interrupts);
                  }});
  rows.push_back({"every value of InterruptACK only takes bits away", [](BlockBench& bench) {
                    for (unsigned bit = 0; bit < 32; ++bit) bench.write(kInterruptAck, 1u << bit);
                    bench.write(kInterruptAck, 0xffffffff);
                    CHECK(bench.read(kInterruptStatus) == 0);
                    bench.use();
                    CHECK(bench.read(kInterruptStatus) == 1);
                    bench.write(kInterruptAck, 0xfffffffe);
                    CHECK(bench.read(kInterruptStatus) == 1);
                    bench.write(kInterruptAck, 1);
                    CHECK(bench.read(kInterruptStatus) == 0);
                  }});
  rows.push_back({"no QueueSel beyond the queues selects one", [](BlockBench& bench) {
                    bench.write(kStatus, 0);
                    for (const std::uint32_t queue : {1u, 3u, 4u, 255u, 0x80000000u, 0xffffffffu, 0x10000u}) {
                      bench.write(kQueueSelect, queue);
                      CHECK(bench.read(kQueueNumMax) == 0);
                      for (std::uint32_t at = kQueueNum; at <= kQueueDeviceHigh; at += 4) {
                        if (at != kQueueNotify && at != kStatus && at != kInterruptAck) bench.write(at, 1);
                      }
                      CHECK(bench.read(kQueueReady) == 0);
                    }
                    bench.write(kQueueSelect, 0);
                    CHECK(bench.read(kQueueReady) == 0);
                  }});
  rows.push_back({"no feature word beyond the second is offered or heard", [](BlockBench& bench) {
                    bench.write(kStatus, 0);
                    bench.write(kStatus, kAcknowledge);
                    bench.write(kStatus, kAcknowledge | kDriver);
                    bench.write(kDriverFeaturesSelect, 1);
                    bench.write(kDriverFeatures, 1);
                    for (const std::uint32_t word : {2u, 3u, 31u, 32u, 33u, 64u, 0x80000000u, 0xffffffffu}) {
                      bench.write(kDeviceFeaturesSelect, word);
                      CHECK(bench.read(kDeviceFeatures) == 0);
                      bench.write(kDriverFeaturesSelect, word);
                      bench.write(kDriverFeatures, 0xffffffff);
                    }
                    bench.write(kStatus, kAcknowledge | kDriver | kFeaturesOk);
                    CHECK(bench.read(kStatus) == (kAcknowledge | kDriver | kFeaturesOk));
                  }});
}

void add_status(Rows<BlockBench>& rows) {
  // From each state that an honest driver passes: which values move it, and to where. All others are ignored.
  struct State {
    const char* name;
    std::uint32_t value;
    std::vector<std::pair<std::uint32_t, std::uint32_t>> moves;
  };
  const std::uint32_t k1 = kAcknowledge, k3 = k1 | kDriver, k11 = k3 | kFeaturesOk;
  const std::vector<State> states{{"reset", 0, {{k1, k1}, {kFailed, kFailed}}},
                                  {"ACKNOWLEDGE", k1, {{k3, k3}, {k1 | kFailed, k1 | kFailed}}},
                                  {"FEATURES_OK", k11, {{k11 | kFailed, k11 | kFailed}}},
                                  {"DRIVER_OK", kUp, {{kUp | kFailed, kUp | kFailed}}}};
  for (const State& state : states) {
    rows.push_back({std::string("no value of Status leads astray from ") + state.name, [state](BlockBench& bench) {
                      for (std::uint32_t value = 1; value < 512; ++value) {
                        bench.write(kStatus, 0);
                        if (state.value == kUp) bench.start();
                        if (state.value == (kUp & ~kDriverOk)) CHECK(bench.driver.negotiate(*bench.transport));
                        if (state.value == kAcknowledge) bench.write(kStatus, kAcknowledge);
                        if (state.value == (kUp & ~kDriverOk) && (value & ~kNeedsReset) == kUp)
                          continue;  // comes up: not astray
                        bench.write(kStatus, value);
                        std::uint32_t expected = state.value;
                        for (const auto& [from, to] : state.moves) {
                          if ((value & ~kNeedsReset) == from) expected = to;
                        }
                        CAPTURE(value);
                        CHECK(bench.read(kStatus) == expected);
                      }
                    }});
  }
  for (unsigned bit = 9; bit < 32; ++bit) {
    rows.push_back({"Status bit " + std::to_string(bit) + " is not taken", [bit](BlockBench& bench) {
                      for (const std::uint32_t base : {0u, kUp}) {
                        if (base == 0) bench.write(kStatus, 0);
                        if (base != 0) bench.start();
                        bench.write(kStatus, base | 1u << bit);
                        CHECK(bench.read(kStatus) == base);
                      }
                    }});
  }
  const auto add = [&](const char* name, std::function<void(BlockBench&)> run) { rows.push_back({name, run}); };
  add("a driver cannot set NEEDS_RESET", [](BlockBench& bench) {
    bench.write(kStatus, kUp | kNeedsReset);
    CHECK_FALSE(bench.broken());
    bench.use();
  });
  add("a driver cannot take NEEDS_RESET away", [](BlockBench& bench) {
    bench.driver.set_available(0, 999);
    bench.kick(0);
    REQUIRE(bench.broken());
    for (std::uint32_t value = 1; value < 256; ++value) bench.write(kStatus, value);
    CHECK(bench.broken());
  });
  add("a driver cannot take DRIVER_OK away", [](BlockBench& bench) {
    bench.write(kStatus, kUp & ~kDriverOk);
    CHECK(bench.read(kStatus) == kUp);
    bench.use();
  });
  add("DRIVER_OK twice opens the queues once", [](BlockBench& bench) {
    bench.use();
    bench.write(kStatus, kUp);
    bench.write(kStatus, kUp);
    CHECK(bench.request(blk::kIn, 0, {}, 512) == blk::kOk);  // at the next index, not from the start
  });
  add("all bits at once from reset are ignored", [](BlockBench& bench) {
    bench.write(kStatus, 0);
    bench.write(kStatus, kUp);
    CHECK(bench.read(kStatus) == 0);
  });
  add("DRIVER_OK without FEATURES_OK is ignored", [](BlockBench& bench) {
    bench.write(kStatus, 0);
    bench.write(kStatus, kAcknowledge);
    bench.write(kStatus, kAcknowledge | kDriver);
    bench.driver.set_up_queue(*bench.transport, 0);
    bench.write(kStatus, kAcknowledge | kDriver | kDriverOk);
    CHECK(bench.read(kStatus) == (kAcknowledge | kDriver));
    bench.kick(0);
    CHECK(bench.interrupts == 0);
  });
  add("FEATURES_OK without DRIVER is ignored", [](BlockBench& bench) {
    bench.write(kStatus, 0);
    bench.write(kStatus, kAcknowledge);
    bench.write(kDriverFeaturesSelect, 1);
    bench.write(kDriverFeatures, 1);
    bench.write(kStatus, kAcknowledge | kFeaturesOk);
    CHECK(bench.read(kStatus) == kAcknowledge);
  });
  add("DRIVER without ACKNOWLEDGE is ignored", [](BlockBench& bench) {
    bench.write(kStatus, 0);
    bench.write(kStatus, kDriver);
    CHECK(bench.read(kStatus) == 0);
  });
  add("ten thousand resets leave a device that works", [](BlockBench& bench) {
    for (int i = 0; i < 10'000; ++i) {
      bench.write(kStatus, 0);
      if (i % 100 == 0) bench.start();
    }
  });
  add("a reset with requests in the queue drops them", [](BlockBench& bench) {
    for (int i = 0; i < 20; ++i) bench.driver.offer(0, blk::header(blk::kIn, 0), 513);
    bench.write(kStatus, 0);
    bench.kick(0);
    CHECK(bench.driver.used_index(0) == 0);
  });
  add("FAILED leaves a device that can be reset", [](BlockBench& bench) {
    bench.write(kStatus, kUp | kFailed);
    bench.kick(0);
  });
}

void add_features(Rows<BlockBench>& rows) {
  for (unsigned bit = 0; bit < 64; ++bit) {
    rows.push_back(
        {"feature bit " + std::to_string(bit) + " is taken only if it was offered", [bit](BlockBench& bench) {
           bench.write(kDeviceFeaturesSelect, bit / 32);
           const bool offered = (bench.read(kDeviceFeatures) >> (bit % 32) & 1) != 0;
           CHECK(bench.driver.negotiate(*bench.transport, 1ull << bit) == offered);
           if (!offered) CHECK(bench.read(kStatus) == (kAcknowledge | kDriver));
         }});
  }
  rows.push_back({"no VERSION_1, no FEATURES_OK", [](BlockBench& bench) {
                    bench.write(kStatus, 0);
                    bench.write(kStatus, kAcknowledge);
                    bench.write(kStatus, kAcknowledge | kDriver);
                    bench.write(kStatus, kAcknowledge | kDriver | kFeaturesOk);
                    CHECK(bench.read(kStatus) == (kAcknowledge | kDriver));
                  }});
  rows.push_back({"features after FEATURES_OK are not heard", [](BlockBench& bench) {
                    CHECK(bench.driver.negotiate(*bench.transport));
                    bench.write(kDriverFeaturesSelect, 0);
                    bench.write(kDriverFeatures, static_cast<std::uint32_t>(kFeatureEventIndex));
                    bench.driver.set_up_queue(*bench.transport, 0);
                    bench.write(kStatus, kUp);
                    bench.use();  // interrupts, as without the event index
                    CHECK(bench.interrupts == 2);
                  }});
}

void add_latching(Rows<BlockBench>& rows) {
  const std::pair<const char*, std::uint32_t> registers[] = {{"QueueNum", kQueueNum},
                                                             {"QueueReady", kQueueReady},
                                                             {"QueueDescLow", kQueueDescLow},
                                                             {"QueueDescHigh", kQueueDescHigh},
                                                             {"QueueDriverLow", kQueueDriverLow},
                                                             {"QueueDriverHigh", kQueueDriverHigh},
                                                             {"QueueDeviceLow", kQueueDeviceLow},
                                                             {"QueueDeviceHigh", kQueueDeviceHigh}};
  for (const auto& [name, at] : registers) {
    rows.push_back({std::string(name) + " is latched from DRIVER_OK to reset", [at = at](BlockBench& bench) {
                      bench.write(kQueueSelect, 0);
                      for (const std::uint32_t value : {0u, 1u, 2u, 0x80000u, 0xffffffffu}) bench.write(at, value);
                      bench.use();
                      CHECK_FALSE(bench.broken());
                    }});
    rows.push_back({std::string(name) + " stays latched when the device failed", [at = at](BlockBench& bench) {
                      bench.driver.set_available(0, 999);
                      bench.kick(0);
                      REQUIRE(bench.broken());
                      for (const std::uint32_t value : {0u, 1u, 0xffffffffu}) bench.write(at, value);
                      bench.write(kStatus, kUp);
                      bench.kick(0);
                      CHECK(bench.broken());
                      CHECK(bench.read(kQueueReady) == 1);
                    }});
  }
  rows.push_back({"ready toggled before DRIVER_OK is as it was left", [](BlockBench& bench) {
                    CHECK(bench.driver.negotiate(*bench.transport));
                    bench.driver.set_up_queue(*bench.transport, 0);
                    for (const std::uint32_t value : {0u, 1u, 0u, 2u, 3u, 1u}) bench.write(kQueueReady, value);
                    bench.write(kStatus, kUp);
                    bench.use();
                  }});
  rows.push_back({"a reset forgets the queue registers", [](BlockBench& bench) {
                    bench.write(kStatus, 0);
                    bench.write(kQueueSelect, 0);
                    CHECK(bench.read(kQueueReady) == 0);
                    CHECK(bench.driver.negotiate(*bench.transport));
                    bench.write(kStatus, kUp);
                    CHECK(bench.broken());
                  }});
}

template <typename B>
void add_config(Rows<B>& rows) {
  for (const std::size_t width : {1u, 2u, 3u, 4u, 5u, 8u, 16u}) {
    rows.push_back(
        {"the configuration reads the same by " + std::to_string(width) + " at every offset", [width](B& bench) {
           std::string bytes;
           for (std::uint64_t at = kConfig; at < kMmioWindow; ++at) bytes += bench.read_wide(at, 1);
           bytes.append(16, '\0');
           for (std::uint64_t at = kConfig; at < kMmioWindow; ++at) {
             REQUIRE(bench.read_wide(at, width) == bytes.substr(at - kConfig, width));
           }
         }});
    rows.push_back({"writes by " + std::to_string(width) + " to the configuration change nothing", [width](B& bench) {
                      std::string before, after;
                      for (std::uint64_t at = kConfig; at < kConfig + 64; ++at) before += bench.read_wide(at, 1);
                      for (std::uint64_t at = kConfig; at < kMmioWindow; ++at) bench.write_wide(at, width, 0xff);
                      for (std::uint64_t at = kConfig; at < kConfig + 64; ++at) after += bench.read_wide(at, 1);
                      CHECK(after == before);
                    }});
  }
  rows.push_back({"accesses beyond the window reach nothing", [](B& bench) {
                    for (const std::uint64_t at : {kMmioWindow, kMmioWindow + 0x70, std::uint64_t{1} << 32,
                                                   (std::uint64_t{1} << 32) + kStatus, UINT64_MAX, UINT64_MAX - 3}) {
                      CHECK(bench.read_wide(at, 4) == std::string(4, '\0'));
                      bench.write_wide(at, 4, 0);
                    }
                    bench.use();
                  }});
  rows.push_back({"accesses of no bytes do nothing", [](B& bench) {
                    for (std::uint64_t at = 0; at < 0x200; ++at) {
                      CHECK(bench.read_wide(at, 0).empty());
                      bench.write_wide(at, 0, 0);
                    }
                    bench.use();
                  }});
}

}  // namespace

Table register_violations() {
  Rows<BlockBench> rows;
  add_widths(rows);
  add_values(rows);
  add_status(rows);
  add_features(rows);
  add_latching(rows);
  add_config(rows);
  Table out = table("registers", rows);
  Rows<VsockBench> other;
  add_config(other);
  append(out, other);
  return out;
}

}  // namespace sandforge::vmm::test
