// SPDX-License-Identifier: Apache-2.0
#include "wire/frames.hpp"

#include "wire/codec.hpp"

namespace sandforge::wire {

std::size_t payload_cap(FrameType type) noexcept {
  switch (type) {
    case FrameType::Open: return limits::kRequestMax;
    case FrameType::Data: return limits::kFramePayloadMax;
    case FrameType::Hello:
    case FrameType::Welcome:
    case FrameType::Meta:
    case FrameType::Result: return limits::kControlPayloadMax;
    case FrameType::Credit:
    case FrameType::Signal: return 4;
    case FrameType::Ping:
    case FrameType::Pong: return 64;
    case FrameType::End:
    case FrameType::Cancel: return 0;
  }
  return 0;
}

void append_frame(std::string& out, FrameType type, std::uint8_t flags, std::uint32_t stream,
                  std::string_view payload) {
  Encoder encoder(out);
  encoder(static_cast<std::uint32_t>(payload.size()));
  encoder(static_cast<std::uint8_t>(type));
  encoder(flags);
  encoder(std::uint16_t{0});
  encoder(stream);
  out.append(payload);
}

void FrameParser::feed(std::string_view bytes) {
  if (bytes.empty()) return;
  std::memcpy(room(bytes.size()).data(), bytes.data(), bytes.size());
  commit(bytes.size());
}

std::span<char> FrameParser::room(std::size_t bytes) {
  if (offset_ > 0) {
    std::memmove(buffer_.data(), buffer_.data() + offset_, end_ - offset_);
    end_ -= offset_;
    offset_ = 0;
  }
  if (buffer_.size() - end_ < bytes) buffer_.resize(end_ + bytes);
  return std::span<char>(buffer_).subspan(end_);
}

void FrameParser::commit(std::size_t count) { end_ += std::min(count, buffer_.size() - end_); }

base::Result<FrameParser::Next> FrameParser::next() {
  const auto corrupt = [this](const char* what) {
    broken_ = true;
    return base::make_error(base::Code::Corrupt, "bad_frame", std::string("wire protocol: ") + what);
  };
  if (broken_) return corrupt("the stream was broken before");
  const std::string_view rest = std::string_view(buffer_).substr(offset_, end_ - offset_);
  if (rest.size() < limits::kFrameHeader) return Next{};

  FrameHeader header;
  std::uint8_t type = 0;
  std::uint16_t reserved = 0;
  Decoder decoder(rest.substr(0, limits::kFrameHeader));
  decoder(header.length);
  decoder(type);
  decoder(header.flags);
  decoder(reserved);
  decoder(header.stream);
  if (type == 0 || type > kFrameTypeMax) return corrupt("unknown frame type");
  header.type = static_cast<FrameType>(type);
  if (reserved != 0) return corrupt("reserved bytes are not zero");
  if (header.length > payload_cap(header.type)) return corrupt("frame over its length cap");
  const bool has_channel =
      header.type == FrameType::Data || header.type == FrameType::End || header.type == FrameType::Credit;
  if (header.flags > (has_channel ? kChannelMax : 0)) return corrupt("unknown channel or flag");

  if (rest.size() - limits::kFrameHeader < header.length) return Next{};
  offset_ += limits::kFrameHeader + header.length;
  return Next{true, Frame{header, rest.substr(limits::kFrameHeader, header.length)}};
}

}  // namespace sandforge::wire
