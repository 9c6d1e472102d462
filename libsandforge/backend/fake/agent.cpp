// SPDX-License-Identifier: Apache-2.0
// Connection and streams of the fake agent; operations on files. Commands are in exec.cpp.
#include "backend/fake/agent.hpp"

#include <algorithm>

#include "backend/fake/stream.hpp"

namespace sandforge::backend::fake {
namespace {

base::Error broke(std::string what) {
  return base::make_error(base::Code::Corrupt, "host_protocol", "host broke the protocol: " + std::move(what));
}

}  // namespace

FakeAgent::FakeAgent(GuestState& guest, std::uint16_t version) : guest_(guest) {
  wire::Hello hello;
  hello.version = version;
  hello.nonce = guest.nonce;
  hello.monotonic_ns = static_cast<std::uint64_t>(std::chrono::nanoseconds(Clock::now() - guest.booted).count());
  hello.agent_version = "fake";
  hello.kernel_release = "0.0.0-fake";
  wire::append_frame(out_, wire::FrameType::Hello, 0, 0, wire::encode(hello));
}
FakeAgent::~FakeAgent() = default;

base::Status FakeAgent::receive(std::string_view bytes) {
  parser_.feed(bytes);
  while (true) {
    SANDFORGE_TRY(auto next, parser_.next());
    if (!next.has_frame) return {};
    SANDFORGE_TRY_STATUS(handle(next.frame));
  }
}

base::Status FakeAgent::handle(const wire::Frame& frame) {
  using wire::FrameType;
  const auto& [length, type, channel, id] = frame.header;
  if (!welcomed_) {
    if (type != FrameType::Welcome || id != 0) return broke("first frame is not Welcome");
    SANDFORGE_TRY(auto welcome, wire::decode<wire::Welcome>(frame.payload));
    if (welcome.magic != wire::kMagic || welcome.nonce != guest_.nonce) return broke("Welcome for somebody else");
    if (!welcome.hostname.empty()) guest_.hostname = welcome.hostname;
    if (!welcome.machine_id.empty()) guest_.machine_id = welcome.machine_id;
    (void)guest_.files.replace("/etc/hostname", 0644, guest_.hostname + "\n");
    welcomed_ = true;
    return {};
  }
  if (type == FrameType::Ping) {
    wire::append_frame(out_, FrameType::Pong, 0, 0, frame.payload);
    return {};
  }
  if (type == FrameType::Open) return open(id, frame.payload);
  const bool known = type == FrameType::Data || type == FrameType::End || type == FrameType::Credit ||
                     type == FrameType::Signal || type == FrameType::Cancel;
  if (!known || id == 0 || id > last_id_) return broke("unexpected frame");

  const auto found = streams_.find(id);
  if (found == streams_.end()) return {};  // crossed the Result
  Stream& stream = *found->second;
  if (type == FrameType::Data || type == FrameType::End) {
    if (channel != wire::kContent || !stream.takes_input || stream.in_ended) return broke("data that nobody takes");
    if (type == FrameType::Data) return take_data(stream, channel, frame.payload);
    stream.in_ended = true;
    if (stream.task) stream.task->input_ended = true;
    return {};
  }
  if (type == FrameType::Cancel) {
    stream.cancelled = true;
    return {};
  }
  std::uint32_t number = 0;
  wire::Decoder decoder(frame.payload);
  decoder(number);
  if (!decoder.ok()) return broke("malformed Credit or Signal");
  if (type == FrameType::Signal) {
    if (stream.task && stream.task->raised == 0) stream.task->raised = static_cast<int>(number & 63);
    return {};
  }
  if (std::uint64_t{stream.credit[channel]} + number > limits::kCreditMax) return broke("credit overflow");
  stream.credit[channel] += number;
  return {};
}

base::Status FakeAgent::open(std::uint32_t id, std::string_view payload) {
  if (id <= last_id_ || id > INT32_MAX) return broke("stream number used before");
  if (streams_.size() >= limits::kStreamsMax) return broke("too many streams");
  last_id_ = id;
  auto owned = std::make_unique<Stream>(id);
  Stream& stream = *owned;
  streams_.emplace(id, std::move(owned));
  const auto opened = wire::decode_open(payload);
  if (!opened) {
    if (opened.error().code != base::Code::Unsupported) return opened.error();
    simple(stream, opened.error());
    return {};
  }
  return start(stream, opened.value().operation, opened.value().request);
}

base::Status FakeAgent::start(Stream& stream, Operation operation, std::string_view request) {
  FileTree& files = guest_.files;
  switch (operation) {
    case Operation::Exec: {
      SANDFORGE_TRY(auto exec, wire::decode<wire::ExecRequest>(request));
      start_exec(stream, exec);
      return {};
    }
    case Operation::FileRead: {
      SANDFORGE_TRY(auto read, wire::decode<wire::FileReadRequest>(request));
      start_read(stream, read);
      return {};
    }
    case Operation::FileWrite: {
      SANDFORGE_TRY(stream.write, wire::decode<wire::FileWriteRequest>(request));
      stream.takes_input = true;
      return {};
    }
    case Operation::FileRename: {
      SANDFORGE_TRY(auto rename, wire::decode<wire::RenameRequest>(request));
      simple(stream, files.rename(rename.from, rename.to));
      return {};
    }
    case Operation::FileList:
    case Operation::FileStat:
    case Operation::FileRemove:
    case Operation::MakeDirectory: break;
    case Operation::SetClock: {
      SANDFORGE_TRY(auto clock, wire::decode<wire::ClockRequest>(request));
      simple(stream, files.set_clock(clock.realtime_ns));
      return {};
    }
    case Operation::SetIdentity: {
      SANDFORGE_TRY(auto identity, wire::decode<wire::IdentityRequest>(request));
      if (!identity.hostname.empty()) guest_.hostname = identity.hostname;
      if (!identity.machine_id.empty()) guest_.machine_id = identity.machine_id;
      simple(stream, {});
      return {};
    }
    case Operation::Shutdown: guest_.powered_off = true; [[fallthrough]];
    case Operation::AddEntropy: simple(stream, {}); return {};
    case Operation::Mount:
    case Operation::Unmount:
      simple(stream, base::make_error(base::Code::Unsupported, "no_file_server", "this guest has no file server"));
      return {};
  }

  SANDFORGE_TRY(auto path, wire::decode<wire::PathRequest>(request));
  if (operation == Operation::FileList) {
    start_list(stream, path);
  } else if (operation == Operation::FileStat) {
    const auto node = files.find(path.path);
    if (!node) return simple(stream, node.error()), base::Status();
    simple(stream, {}, wire::encode(FileTree::info(path.path, *node.value())));
  } else if (operation == Operation::FileRemove) {
    simple(stream, files.remove(path.path, path.flag & 1));
  } else {
    simple(stream, files.make_directory(path.path, path.mode, path.flag & 1));
  }
  return {};
}

void FakeAgent::start_read(Stream& stream, const wire::FileReadRequest& request) {
  const auto node = guest_.files.find(request.path);
  if (!node) return simple(stream, node.error());
  if (node.value()->is_directory()) return simple(stream, base::os_error(request.path, EISDIR));
  frame(wire::FrameType::Meta, 0, stream, wire::encode(FileTree::info(request.path, *node.value())));
  const std::string_view content = node.value()->content;
  const auto from = static_cast<std::size_t>(std::min<std::uint64_t>(request.offset, content.size()));
  const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(request.length, content.size() - from));
  stream.content.emplace(Stream::Content{{}, std::string(content.substr(from, count)), 0});
}

// Records are kept apart, since a Data frame holds whole ones only.
void FakeAgent::start_list(Stream& stream, const wire::PathRequest& request) {
  const auto node = guest_.files.find(request.path);
  if (!node) return simple(stream, node.error());
  if (!node.value()->is_directory()) return simple(stream, base::os_error(request.path, ENOTDIR));
  Stream::Content content;
  wire::Encoder encoder(content.bytes);
  for (const auto& [name, child] : node.value()->children) {
    const std::string info = wire::encode(FileTree::info("/" + name, *child));
    encoder(static_cast<std::uint32_t>(info.size()));
    content.bytes += info;
    content.cuts.push_back(content.bytes.size());
  }
  stream.content = std::move(content);
}

base::Status FakeAgent::take_data(Stream& stream, std::uint8_t channel, std::string_view bytes) {
  if (bytes.size() > stream.window) return broke("more data than it has credit for");
  stream.window -= static_cast<std::uint32_t>(bytes.size());
  if (stream.task && !stream.task_ended) {
    stream.task->input.append(bytes);  // credit comes when the program takes it
    return {};
  }
  if (stream.write && !stream.failed) {
    if (guest_.files.bytes() + stream.written.size() + bytes.size() > limits::kFakeFileBytesMax) {
      stream.failed = ENOSPC;
    } else {
      stream.written.append(bytes);
    }
  }
  give_credit(stream, channel, bytes.size());
  return {};
}

void FakeAgent::give_credit(Stream& stream, std::uint8_t channel, std::size_t bytes) {
  stream.to_grant += static_cast<std::uint32_t>(bytes);
  if (stream.in_ended || stream.to_grant < limits::kStreamWindow / 4) return;
  stream.window += stream.to_grant;
  std::string payload;
  wire::Encoder encoder(payload);
  encoder(std::exchange(stream.to_grant, 0));
  frame(wire::FrameType::Credit, channel, stream, payload);
}

void FakeAgent::simple(Stream& stream, const base::Status& status, std::string body) {
  wire::ResultHeader header;
  if (status) {
    header.body = std::move(body);
  } else {
    header.code = status.error().code;
    header.os_errno = status.error().os_errno;
    header.message = status.error().message;
  }
  result(stream, std::move(header));
}

// The stream itself is taken away by advance().
void FakeAgent::result(Stream& stream, wire::ResultHeader header) {
  frame(wire::FrameType::Result, 0, stream, wire::encode(header));
  stream.gone = true;
}

void FakeAgent::frame(wire::FrameType type, std::uint8_t flags, const Stream& stream, std::string_view payload) {
  wire::append_frame(out_, type, flags, stream.id, payload);
}

// Begins behind the stream with which out() became full last time, so that none is starved.
bool FakeAgent::advance() {
  bool again = false;
  auto at = streams_.upper_bound(served_last_);
  for (std::size_t left = streams_.size(); left > 0; --left) {
    if (at == streams_.end()) at = streams_.begin();
    const bool had_room = out_.size() < limits::kSessionSendMax;
    again |= advance_stream(*at->second);
    if (had_room && out_.size() >= limits::kSessionSendMax) served_last_ = at->first;
    at = at->second->gone ? streams_.erase(at) : std::next(at);
  }
  return again;
}

bool FakeAgent::advance_stream(Stream& stream) {
  if (stream.gone) return false;
  if (stream.task) return advance_exec(stream);
  if (stream.cancelled) {
    wire::ResultHeader header;
    header.code = base::Code::Conflict;
    header.message = "cancelled";
    result(stream, std::move(header));
    return false;
  }
  if (stream.content) return advance_content(stream);
  if (stream.write && (stream.in_ended || stream.failed)) {
    const auto file = stream.failed
                          ? base::os_error(stream.write->path, stream.failed)
                          : guest_.files.replace(stream.write->path, stream.write->mode, std::move(stream.written));
    if (!file) return simple(stream, file.error()), false;
    simple(stream, {}, wire::encode(FileTree::info(stream.write->path, *file.value())));
  }
  return false;
}

bool FakeAgent::advance_content(Stream& stream) {
  Stream::Content& content = *stream.content;
  std::uint32_t& credit = stream.credit[wire::kContent];
  const std::size_t left = content.bytes.size() - content.at;
  if (left == 0) {
    frame(wire::FrameType::End, wire::kContent, stream);
    simple(stream, {});
    return false;
  }
  if (out_.size() >= limits::kSessionSendMax) return false;
  std::size_t count = std::min({left, std::size_t{credit}, limits::kFramePayloadMax});
  if (!content.cuts.empty()) {
    const auto cut = std::upper_bound(content.cuts.begin(), content.cuts.end(), content.at + count);
    count = cut == content.cuts.begin() ? 0 : std::max(*std::prev(cut), content.at) - content.at;
  }
  if (count == 0) return false;
  frame(wire::FrameType::Data, wire::kContent, stream, std::string_view(content.bytes).substr(content.at, count));
  content.at += count;
  credit -= static_cast<std::uint32_t>(count);
  return true;
}

}  // namespace sandforge::backend::fake
