// SPDX-License-Identifier: Apache-2.0
// Every size that a user or a guest controls has its cap here, and nowhere else.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sandforge::limits {

inline constexpr std::uint64_t kKiB = 1024;
inline constexpr std::uint64_t kMiB = 1024 * kKiB;
inline constexpr std::uint64_t kGiB = 1024 * kMiB;

// Sandboxes
inline constexpr std::int64_t kCpuDefault = 2, kCpuMax = 32;
inline constexpr std::int64_t kMemoryMbDefault = 512, kMemoryMbMin = 128, kMemoryMbMax = 1024 * 1024;
inline constexpr std::int64_t kDiskGbDefault = 10, kDiskGbMax = 1024;
inline constexpr std::int64_t kTimeoutSecDefault = 3600, kTimeoutSecMax = 7 * 24 * 3600;
inline constexpr std::uint32_t kSandboxesDefault = 64, kSandboxesMax = 4096;
inline constexpr std::size_t kIdMax = 128;
inline constexpr std::size_t kTombstonesMax = 1024;
inline constexpr std::int64_t kTombstoneSec = 3600;
inline constexpr std::size_t kMountsMax = 64;

// Commands
inline constexpr std::size_t kArgsMax = 4096;            // argv entries, and environment entries
inline constexpr std::size_t kArgBytesMax = 128 * kKiB;  // one entry (Linux MAX_ARG_STRLEN)
inline constexpr std::size_t kExecBytesMax = 1 * kMiB;   // all of one exec request
inline constexpr std::uint64_t kOutputCapDefault = 16 * kMiB, kOutputCapMax = 1 * kGiB;
inline constexpr std::int64_t kExecTimeoutMsMax = kTimeoutSecMax * 1000;
inline constexpr std::uint32_t kPidsDefault = 4096, kPidsMax = 32768;
inline constexpr std::int64_t kMountGraceMs = 2000;  // from the end of a command to the end of a mount that holds it up
inline constexpr std::int64_t kExecHostGraceMs = 5000;  // after the guest's own time-out, before the host gives up

// Files
inline constexpr std::size_t kPathMax = 4096;
inline constexpr std::uint64_t kReadFileDefault = 16 * kMiB;
inline constexpr std::size_t kDirEntriesMax = 1'000'000;
inline constexpr std::size_t kDirBytesMax = 256 * kMiB;  // encoded records of one listing
inline constexpr std::int64_t kFileStallMs = 30'000;

// Wire protocol
inline constexpr std::size_t kFrameHeader = 12;
inline constexpr std::size_t kFramePayloadMax = 64 * kKiB;             // data frames
inline constexpr std::size_t kControlPayloadMax = 16 * kKiB;           // Hello, Welcome, Meta, Result
inline constexpr std::size_t kRequestMax = kExecBytesMax + 64 * kKiB;  // Open
inline constexpr std::size_t kStreamsMax = 1024;                       // at once, per sandbox
inline constexpr std::uint32_t kStreamWindow = 256 * kKiB;             // credit per stream, channel and direction
inline constexpr std::uint32_t kStreamWindowWide = 1 * kMiB;           // of a channel whose reader takes what comes
inline constexpr std::uint32_t kWideWindowsMax = 16;                   // of these at once, per session
inline constexpr std::size_t kSessionSendMax = 256 * kKiB;             // stream data waiting to be sent, per session
inline constexpr std::size_t kSessionSendTurn = kFramePayloadMax;  // of it for one stream at its turn, when others wait
inline constexpr std::size_t kSessionBacklogMax = 4 * kMiB;        // all that waits to be sent; beyond it no open()
inline constexpr std::size_t kReceiveChunk = 256 * kKiB;           // one read of a session
inline constexpr std::size_t kPongsPendingMax = 64;                // pings of a peer that does not read the answers
inline constexpr std::uint32_t kCreditMax = 1u << 31;              // that a peer may have given and we not used

// The fake backend's guest
inline constexpr std::uint64_t kFakeFileBytesMax = 256 * kMiB;  // all of its files
inline constexpr std::size_t kFakeNodesMax = 100'000;           // files and directories
inline constexpr std::size_t kFakeScriptMax = 64 * kKiB;        // one sh -c script
inline constexpr std::size_t kFakeShellStepsMax = 100'000;      // commands that one script may run
inline constexpr std::size_t kFakeShellDepthMax = 32;           // sh -c in sh -c

// Backends
inline constexpr std::size_t kGuestLogMax = 64 * kKiB;  // kept of what a monitor and its guest's serial port say
inline constexpr std::size_t kGuestLogTail = 4 * kKiB;  // shown of it when the guest has ended

// The agent in the guest
inline constexpr std::size_t kAgentThreadsMax = 24;       // for operations that may block in a file system
inline constexpr std::size_t kAgentBacklog = 512 * kKiB;  // bytes for the host before producers are stopped
inline constexpr std::size_t kUserFileMax = 1 * kMiB;     // of the guest's /etc/passwd and /etc/group each
inline constexpr std::size_t kUserGroupsMax = 64;         // supplementary groups of a task
inline constexpr std::size_t kTreeDepthMax = 2048;        // of a recursive removal: one descriptor a level
inline constexpr std::size_t kEarlySignalsMax = 16;       // kept until the command runs

// Time
inline constexpr std::int64_t kBootTimeoutMs = 120'000;
inline constexpr int kLaunchesMax = 3;              // of a guest whose kernel could not measure its timer
inline constexpr std::int64_t kExitGraceMs = 1000;  // from a lost agent to the verdict that its guest still runs

// Monitor
inline constexpr std::uint64_t kMonitorOpenFiles = 256;                          // descriptors
inline constexpr std::uint64_t kMonitorFileBytesMax = (kDiskGbMax + 16) * kGiB;  // of any file that it writes
inline constexpr std::uint64_t kMonitorOverheadBytes = 96 * kMiB;                // of its cgroup, beside the guest
inline constexpr std::size_t kGuestLogBytesMax = 1 * kMiB;  // of a guest's serial port, passed on in its whole life
inline constexpr std::size_t kGuestLogLineMax = 512;        // of it, written at once
inline constexpr std::size_t kMonitorConfigBytesMax = 4 * kKiB;
inline constexpr std::size_t kKernelCommandLineMax = 2047;  // without its NUL
inline constexpr int kControlRequestsTurn = 16;             // of one connection before the devices get their turn
inline constexpr std::size_t kKernelHeadersMax = 64;        // of an ELF file, of which
inline constexpr std::size_t kKernelSegmentsMax = 16;       // are loaded
inline constexpr std::size_t kKernelSectionsMax = 256;
inline constexpr std::uint64_t kKernelNotesMax = 64 * kKiB;  // one segment of notes

// Devices of the monitor: a turn ends before the other devices get theirs
inline constexpr std::uint16_t kVirtqueueSizeMax = 256;
inline constexpr std::uint64_t kChainBytesMax = 4 * kGiB;           // all buffers of one request of any device
inline constexpr std::uint64_t kBlockRequestBytesMax = 32 * kMiB;   // data of one disk request
inline constexpr std::uint32_t kBlockSegmentBytesMax = 128 * kKiB;  // of it in one buffer, as drivers are told
inline constexpr std::uint64_t kBlockDiscardBytesMax = 128 * kMiB;  // one range
inline constexpr std::uint32_t kBlockDiscardRangesMax = 16;         // of one request
inline constexpr std::uint64_t kBlockTurnBytes = 32 * kMiB;         // moved before other devices get their turn
inline constexpr std::uint32_t kVsockWindow = 1 * kMiB;             // bytes that the guest may have under way, a stream
inline constexpr std::size_t kVsockStreamsMax = 16;                 // at once
inline constexpr std::size_t kVsockAnswersMax = 64;                 // that wait for a buffer of the guest
inline constexpr std::uint32_t kVsockPayloadMax = 64 * kKiB;        // of one packet (what Linux sends at most)
inline constexpr int kVsockTurnPackets = 256;
inline constexpr std::uint32_t kRngRequestBytes = 64 * kKiB;  // answered to one request of virtio-rng
inline constexpr std::uint64_t kRngTurnBytes = 256 * kKiB;
inline constexpr std::uint64_t kFsTurnBytes = 4 * 1024 * kKiB;
inline constexpr std::size_t kBalloonPagesMax = 16384;          // page numbers in one request of virtio-balloon
inline constexpr std::uint64_t kBalloonTurnBytes = 128 * kMiB;  // of guest memory; Linux reports 64 MiB at once
inline constexpr std::size_t kDiskLayersMax = 16;               // files that a disk is made of

// Policy
inline constexpr std::size_t kPolicyBytesMax = 256 * kKiB;
inline constexpr std::size_t kPolicyListMax = 256;  // entries of one list
inline constexpr std::size_t kHomesMax = 1024;      // of other users, that mounts are kept out of by name
// The file server
inline constexpr std::uint32_t kFsdDataBytesMax = 1 * kMiB;                      // of one READ or WRITE
inline constexpr std::size_t kFsdMessageBytesMax = kFsdDataBytesMax + 4 * kKiB;  // one request with its data
inline constexpr std::size_t kFsdReplyBytesMax = kFsdDataBytesMax + 16;          // one answer with its header
inline constexpr std::size_t kFsdNewerBytesMax = 4 * kKiB;                       // of INIT, from later protocols
inline constexpr std::size_t kFsdInodesMax = 1'200'000;       // that a guest may know at once: some 400 bytes each
inline constexpr std::uint64_t kFsdOpenFilesMax = 65536;      // descriptors, where the host allows
inline constexpr std::uint64_t kFsdCopyBytesMax = 16 * kMiB;  // of one COPY_FILE_RANGE
inline constexpr std::uint64_t kFsdFileBytesMax = 16 * 1024 * kGiB;  // of any file that it writes

// Images
inline constexpr std::uint64_t kImportBytesMax = 64 * kGiB;
inline constexpr std::size_t kImageNameMax = 64;
inline constexpr std::size_t kImageWordMax = 128;  // a kernel release, a module, a package
inline constexpr std::size_t kManifestBytesMax = 256 * kKiB;
inline constexpr std::size_t kRecipeBytesMax = 1 * kMiB;
inline constexpr std::size_t kRecipeListMax = 1024;          // packages, modules, files, links, mirrors
inline constexpr std::size_t kRecipeContentMax = 64 * kKiB;  // of all its files together; one argument carries it
inline constexpr std::uint64_t kAgentBytesMax = 16 * kMiB;
inline constexpr std::uint64_t kKernelBytesMax = 1 * kGiB;
inline constexpr std::uint64_t kModuleBytesMax = 64 * kMiB;  // one
inline constexpr std::uint64_t kKernelBuildBytes =
    3 * kGiB;  // of disk that a kernel build needs: its source, its objects
inline constexpr int kKernelBuildJobsMax = 64;
inline constexpr std::uint64_t kModulesBytesMax = 512 * kMiB;  // their archive
inline constexpr std::size_t kOciJsonMax = 4 * kMiB;           // index or manifest
inline constexpr std::size_t kOciLayersMax = 256;
inline constexpr std::uint64_t kImportEntriesMax = 5'000'000;
inline constexpr std::size_t kImportDepthMax = 512;  // directories within directories

}  // namespace sandforge::limits
