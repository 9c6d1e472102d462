// SPDX-License-Identifier: Apache-2.0
#include "image/digest.hpp"

#include <fcntl.h>
#include <sha2.h>

#include <algorithm>
#include <vector>

#include "base/unique_fd.hpp"

namespace sandforge::image {

namespace {
constexpr std::string_view kPrefix = "sha256:";
constexpr std::size_t kReadBytes = 256 * 1024;
}  // namespace

struct Sha256::Context {
  SHA2_CTX state;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) { SHA256Init(&context_->state); }
Sha256::~Sha256() = default;

void Sha256::update(std::string_view bytes) {
  SHA256Update(&context_->state, reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

std::string Sha256::finish() {
  std::array<std::uint8_t, SHA256_DIGEST_LENGTH> raw{};
  SHA256Final(raw.data(), &context_->state);
  constexpr std::string_view kHex = "0123456789abcdef";
  std::string text(kPrefix);
  for (const std::uint8_t byte : raw) {
    text.push_back(kHex[byte >> 4U]);
    text.push_back(kHex[byte & 15U]);
  }
  return text;
}

std::string sha256_of(std::string_view bytes) {
  Sha256 hash;
  hash.update(bytes);
  return hash.finish();
}

base::Result<std::string> sha256_of_file(const std::filesystem::path& path) {
  const base::UniqueFd file(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file) return base::os_error("cannot open " + path.string());
  ::posix_fadvise(file.get(), 0, 0, POSIX_FADV_SEQUENTIAL);
  Sha256 hash;
  std::vector<char> buffer(kReadBytes);
  for (;;) {
    const ssize_t got = ::read(file.get(), buffer.data(), buffer.size());
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return base::os_error("cannot read " + path.string());
    if (got == 0) return hash.finish();
    hash.update({buffer.data(), static_cast<std::size_t>(got)});
  }
}

bool is_digest(std::string_view text) noexcept {
  return text.size() == kPrefix.size() + 64 && text.starts_with(kPrefix) &&
         std::all_of(text.begin() + kPrefix.size(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

std::string_view hex_of(std::string_view digest) noexcept { return digest.substr(kPrefix.size()); }

}  // namespace sandforge::image
