// SPDX-License-Identifier: Apache-2.0
// Messages of the wire protocol, and what each operation exchanges. One definition for host and agent.
//
// Connection      agent: Hello            host: Welcome           then streams. A peer whose magic or version does not
//                 fit is told nothing more: the connection is closed with a clear error on the host.
// Stream          host: Open(op, request) -> agent: [Meta] {Data|End|Credit}* Result;  host: {Data|End|Credit|Signal}*
//                 [Cancel].  Result is the last frame of a stream; frames of the host that cross it are ignored.
//
//      host                      agent
//      Open  ------------------>  idle -> open
//      Data/End  <------------->  open            each channel: Data* then one End
//      Cancel  ---------------->  open -> closing
//      Result  <----------------  open|closing -> gone
//
// Credit          A sender may have at most limits::kStreamWindow bytes of Data of one channel of one stream beyond
//                 what the receiver gave with Credit; every stream starts with a full window. More is a broken peer.
//                 A receiver gives back what it took, and may once give more, which widens the window: the host does,
//                 to kStreamWindowWide, on a few channels whose reader takes what comes. Control frames need no credit.
// Company         Meta, and an End, may wait a moment for the next frame of the connection: nobody waits for them
// alone. Versioning      kVersion changes when an old peer could misunderstand a new one; what an old peer can ignore
// is a bit
//                 in `features` and may be used only when both sides set it.
//
//   operation     request        meta       data to agent   data to host           result body
//   Exec          ExecRequest    Started    kStdin          kStdout, kStderr       ExecResult
//   FileRead      FileReadReq.   FileInfo   -               kContent               -
//   FileWrite     FileWriteReq.  -          kContent        -                      FileInfo of the finished file
//   FileList      PathRequest    -          -               kContent: records      -
//   FileStat      PathRequest    -          -               -                      FileInfo (symlinks followed)
//   FileRemove    PathRequest    -          -               -                      -        flag 1: recursive
//   FileRename    RenameRequest  -          -               -                      -
//   MakeDirectory PathRequest    -          -               -                      -        flag 1: parents
//   SetClock      ClockRequest   -          -               -                      -
//   AddEntropy    EntropyRequest -          -               -                      -
//   SetIdentity   IdentityReq.   -          -               -                      -
//   Shutdown      Empty          -          -               -                      -        sync, then power off
//   Mount         MountRequest   -          -               -                      -
//   Unmount       PathRequest    -          -               -                      -
//
// A record of FileList is u32 length and a FileInfo; a Data frame holds whole records only; no "." and "..", any order.
// A FileWrite appears under its path at Result and not before (temporary file beside it, fsync-less rename); Cancel or
// a lost connection leaves nothing. Missing parent directories are made. A write to a directory or a special file is
// refused, one through a symlink goes to its target.
// A command that cannot be started (not found 127, else 126) has no Meta: its reason goes to kStderr as one line, and
// into ExecResult.reason, with ended_by Exit.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/limits.hpp"
#include "base/result.hpp"
#include "wire/codec.hpp"
#include "wire/frames.hpp"

namespace sandforge::wire {

enum class Operation : std::uint16_t {
  Exec = 1,
  FileRead = 2,
  FileWrite = 3,
  FileList = 4,
  FileStat = 5,
  FileRemove = 6,
  FileRename = 7,
  MakeDirectory = 8,
  SetClock = 9,
  AddEntropy = 10,
  SetIdentity = 11,
  Shutdown = 12,
  Mount = 13,
  Unmount = 14,
};
inline constexpr std::uint16_t kOperationMax = 14;

// Numbers are those of sandforge.h (sandforge_ended_by) and permanent.
enum class EndedBy : std::uint8_t {
  Exit = 0,
  Signal = 1,
  Timeout = 2,
  Oom = 3,
  OutputCap = 4,
  Killed = 5,
  Policy = 6,
  VmCrash = 7,
  AgentLost = 8,
};

enum class TaskIsolation : std::uint8_t { Container = 0, Process = 1 };

struct Hello {
  static constexpr const char* kName = "Hello";
  std::uint32_t magic = kMagic;
  std::uint16_t version = kVersion;
  std::uint32_t features = 0;
  std::uint64_t nonce = 0;         // chosen by the agent at boot; the same on every connection of one boot
  std::uint64_t monotonic_ns = 0;  // guest CLOCK_MONOTONIC when the agent was ready
  std::string agent_version;
  std::string kernel_release;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a(m.magic), a(m.version), a(m.features), a(m.nonce), a(m.monotonic_ns);
    a.text(m.agent_version, 64), a.text(m.kernel_release, 128);
  }
};

// Sets clock, entropy and identity in one step, before any task can run.
struct Welcome {
  static constexpr const char* kName = "Welcome";
  std::uint32_t magic = kMagic;
  std::uint16_t version = kVersion;
  std::uint32_t features = 0;
  std::uint64_t nonce = 0;       // of the Hello that it answers
  std::int64_t realtime_ns = 0;  // host CLOCK_REALTIME now; 0: leave the guest's clock alone
  std::string entropy;           // credited and followed by a reseed; may be empty
  std::string hostname;          // empty: leave as it is
  std::string machine_id;        // 32 hex digits, empty: leave as it is

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a(m.magic), a(m.version), a(m.features), a(m.nonce), a(m.realtime_ns);
    a.text(m.entropy, 512), a.text(m.hostname, 64), a.text(m.machine_id, 32);
  }
};

struct ExecRequest {
  static constexpr const char* kName = "ExecRequest";
  std::vector<std::string> argv;
  std::vector<std::string> env;  // "KEY=VALUE"; over the defaults PATH, HOME, LANG
  std::string cwd;               // absolute; empty: "/"
  std::string user;              // empty: root; name or number
  TaskIsolation isolation = TaskIsolation::Container;
  std::uint8_t stream_stdin = 0;    // 0: /dev/null
  std::uint64_t timeout_ms = 0;     // 0: none
  std::uint64_t memory_max = 0;     // bytes, 0: none
  std::uint32_t pids_max = 0;       // 0: none
  std::uint32_t cpu_max_milli = 0;  // thousandths of one CPU, 0: none

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.texts(m.argv, limits::kArgsMax, limits::kArgBytesMax), a.texts(m.env, limits::kArgsMax, limits::kArgBytesMax);
    a.text(m.cwd, limits::kPathMax), a.text(m.user, 64), a.choice(m.isolation, TaskIsolation::Process);
    a(m.stream_stdin), a(m.timeout_ms), a(m.memory_max), a(m.pids_max), a(m.cpu_max_milli);
  }
};

struct Started {
  static constexpr const char* kName = "Started";
  std::uint32_t pid = 0;  // in the agent's PID namespace

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a(m.pid);
  }
};

struct ExecResult {
  static constexpr const char* kName = "ExecResult";
  EndedBy ended_by = EndedBy::Exit;
  std::int32_t exit_code = 0;  // 128+n for a signal, 124 time-out, 127/126 not started
  std::int32_t signal = 0;
  std::uint64_t stdout_total = 0, stderr_total = 0;  // bytes written by the command
  std::uint64_t wall_ns = 0;
  std::uint64_t cpu_ns = 0;
  std::uint64_t memory_peak = 0;  // bytes, 0 unknown
  std::string reason;             // one line, empty when it just exited

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.choice(m.ended_by, EndedBy::AgentLost), a(m.exit_code), a(m.signal), a(m.stdout_total), a(m.stderr_total);
    a(m.wall_ns), a(m.cpu_ns), a(m.memory_peak), a.text(m.reason, 512);
  }
};

struct FileInfo {
  static constexpr const char* kName = "FileInfo";
  std::string name;  // last component; "/" for the root
  std::uint64_t length = 0;
  std::uint32_t mode = 0;  // st_mode
  std::uint32_t uid = 0, gid = 0;
  std::int64_t modified_at = 0;  // Unix seconds
  std::uint32_t modified_nsec = 0;
  std::string link_target;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.name, 255), a(m.length), a(m.mode), a(m.uid), a(m.gid), a(m.modified_at), a(m.modified_nsec);
    a.text(m.link_target, limits::kPathMax);
  }
};

struct PathRequest {
  static constexpr const char* kName = "PathRequest";
  std::string path;        // absolute
  std::uint32_t mode = 0;  // MakeDirectory: permission bits, 0 means 0755
  std::uint8_t flag = 0;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.path, limits::kPathMax), a(m.mode), a(m.flag);
  }
};

struct FileReadRequest {
  static constexpr const char* kName = "FileReadRequest";
  std::string path;
  std::uint64_t offset = 0;
  std::uint64_t length = UINT64_MAX;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.path, limits::kPathMax), a(m.offset), a(m.length);
  }
};

struct FileWriteRequest {
  static constexpr const char* kName = "FileWriteRequest";
  std::string path;
  std::uint32_t mode = 0;  // permission bits; 0: what the old file has, else 0644

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.path, limits::kPathMax), a(m.mode);
  }
};

struct RenameRequest {
  static constexpr const char* kName = "RenameRequest";
  std::string from, to;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.from, limits::kPathMax), a.text(m.to, limits::kPathMax);
  }
};

struct ClockRequest {
  static constexpr const char* kName = "ClockRequest";
  std::int64_t realtime_ns = 0;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a(m.realtime_ns);
  }
};

struct EntropyRequest {
  static constexpr const char* kName = "EntropyRequest";
  std::string entropy;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.entropy, 512);
  }
};

struct IdentityRequest {
  static constexpr const char* kName = "IdentityRequest";
  std::string hostname;
  std::string machine_id;

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.text(m.hostname, 64), a.text(m.machine_id, 32);
  }
};

// A directory of the file server's, to be seen at a path of the guest.
struct MountRequest {
  static constexpr const char* kName = "MountRequest";
  std::uint32_t index = 0;  // the directory's name in the file server's root
  std::uint8_t read_only = 0;
  std::string guest_path;  // absolute; missing directories are made

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a(m.index), a(m.read_only), a.text(m.guest_path, limits::kPathMax);
  }
};

// Payload of a Result frame: how the operation ended, then its body if it has one.
struct ResultHeader {
  static constexpr const char* kName = "ResultHeader";
  base::Code code = base::Code::Ok;
  std::int32_t os_errno = 0;  // of the guest
  std::string message;        // "" when ok
  std::string body;           // encoded message of the table above, "" when there is none

  template <typename A, typename M>
  static void fields(A& a, M& m) {
    a.choice(m.code, base::Code::Internal), a(m.os_errno), a.text(m.message, 1024), a.text(m.body, 8192);
  }
};

// An Open payload: u16 operation, then the encoded request.
template <typename Request>
std::string encode_open(Operation operation, const Request& request) {
  std::string out;
  Encoder encoder(out);
  encoder(static_cast<std::uint16_t>(operation));
  Request::fields(encoder, request);
  return out;
}

struct Open {
  Operation operation;
  std::string_view request;  // borrowed from the payload
};
// Corrupt when it is shorter than the number; unsupported (an operation of a later version) is told apart, since it
// must be answered with a Result.
base::Result<Open> decode_open(std::string_view payload);

}  // namespace sandforge::wire
