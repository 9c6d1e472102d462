// SPDX-License-Identifier: Apache-2.0
// Every size and time that a client of the HTTP server controls has its cap here, and nowhere else. Those that an
// operator may change are Limits, the rest are fixed.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>

namespace sandforge::server::caps {

inline constexpr std::size_t kKiB = 1024;
inline constexpr std::size_t kMiB = 1024 * kKiB;

// Request head
inline constexpr std::size_t kHeadBytes = 32 * kKiB;
inline constexpr std::size_t kTargetBytes = 8 * kKiB;
inline constexpr std::size_t kHeaderCount = 100;
inline constexpr std::size_t kPathBytes = 512;  // of the URL path; guest paths travel in the query

// Request body
inline constexpr std::size_t kChunkExtensionBytes = 256;
inline constexpr std::size_t kTrailerBytes = 8 * kKiB;
inline constexpr std::size_t kJsonDepth = 64;
inline constexpr std::size_t kJsonEntries = 4096;  // of one list, or of one map of strings: the library's own cap
inline constexpr std::size_t kJsonLargeBytes = 256 * kKiB;  // larger documents are parsed one at a time
inline constexpr std::size_t kPipelinedBytes = 64 * kKiB;   // read ahead while a request is answered

// Work
inline constexpr std::size_t kQuickWorkers = 4;
inline constexpr std::size_t kFileWorkers = 256;  // started when needed: kFileJobsPerSandbox for 64 sandboxes
inline constexpr std::size_t kDestroyWorkers = 8;
inline constexpr std::size_t kQueuedJobs = 4096;          // a pool, waiting
inline constexpr std::size_t kFileJobsPerSandbox = 4;     // at once; so that one stalled guest cannot hold every worker
inline constexpr std::size_t kLoopSliceBytes = 1 * kMiB;  // read of one command before others get their turn

// Time
inline constexpr std::chrono::seconds kHeadTime{10};   // first byte of a head to its last
inline constexpr std::chrono::seconds kIdleTime{120};  // between requests
inline constexpr std::chrono::seconds kBodyTime{30};   // for each kBodyStep bytes of a body
inline constexpr std::size_t kBodyStep = 16 * kKiB;
inline constexpr std::chrono::seconds kWriteTime{30};    // without any progress
inline constexpr std::chrono::seconds kTrickleTime{15};  // a byte for clients that wait for a long command
inline constexpr std::chrono::seconds kDrainTime{3};     // for answers under way at shutdown

// What an operator may set of Limits
inline constexpr std::size_t kLimitMiBMax = 1024;
inline constexpr std::size_t kConnectionsMax = 1'000'000;

}  // namespace sandforge::server::caps

namespace sandforge::server {

// Set at start (flags of `serve`), reported by GET /v1/info.
struct Limits {
  std::size_t body_bytes = 64 * caps::kMiB;         // of one request; files/content has none
  std::size_t body_bytes_total = 256 * caps::kMiB;  // buffered by all connections together; never below body_bytes
  std::size_t files_read_bytes = 16 * caps::kMiB;   // of one file by files/read; files/content has none
  std::size_t exec_stream_bytes = 16 * caps::kMiB;  // kept of each output stream of a buffered exec
  std::size_t connections = 16384;                  // at once; more wait in the kernel's queue
};

}  // namespace sandforge::server
