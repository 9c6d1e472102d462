// SPDX-License-Identifier: Apache-2.0
#include "fsd/bench.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

namespace sandforge::fsd::test {
namespace fs = std::filesystem;

TemporaryTree::TemporaryTree() {
  std::string name = (fs::temp_directory_path() / "sandforge-fsd-XXXXXX").string();
  REQUIRE(::mkdtemp(name.data()) != nullptr);
  path_ = name;
}

TemporaryTree::~TemporaryTree() {
  std::error_code ignored;
  fs::remove_all(path_, ignored);
}

void TemporaryTree::write(const std::string& name, const std::string& text) const {
  std::ofstream(path_ / name, std::ios::binary) << text;
}

std::string TemporaryTree::read(const std::string& name) const {
  std::ostringstream out;
  out << std::ifstream(path_ / name, std::ios::binary).rdbuf();
  return out.str();
}

bool can_clone() {
  const base::UniqueFd directory(::open("/tmp", O_PATH | O_DIRECTORY | O_CLOEXEC));
  return static_cast<bool>(clone_mount(directory.get(), true));
}

Bench::Bench(bool read_only, std::uint64_t descriptors, bool start)
    : server(mounts, descriptors), space_(limits::kFsdReplyBytesMax) {
  attach(0, tree.path(), read_only);
  if (!start) return;
  init();
  root = node(FUSE_ROOT_ID, "0");
}

void Bench::attach(std::uint32_t index, const fs::path& directory, bool read_only) {
  const base::UniqueFd fd(::open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  auto clone = clone_mount(fd.get(), read_only);
  REQUIRE(clone);
  REQUIRE(mounts.attach(index, read_only, std::move(clone).value()) == 0);
}

Got Bench::send(std::string_view message) {
  const Exact exact(message);
  const Server::Answer answer = server.serve(exact.span(), space_);
  Got got;
  got.broken = answer.broken;
  got.answered = !answer.bytes.empty();
  if (!got.answered) return got;
  fuse_out_header header{};
  REQUIRE(answer.bytes.size() >= sizeof header);
  std::memcpy(&header, answer.bytes.data(), sizeof header);
  CHECK(header.len == answer.bytes.size());
  CHECK(header.error <= 0);
  CHECK(header.error > -512);
  got.error = -header.error;
  if (got.error != 0) CHECK(header.len == sizeof header);
  // SAFETY: bytes seen as characters.
  got.body.assign(reinterpret_cast<const char*>(answer.bytes.data()) + sizeof header, header.len - sizeof header);
  return got;
}

void Bench::init() {
  fuse_init_in in{};
  in.major = 7;
  in.minor = 38;
  in.max_readahead = 1 << 20;
  in.flags = UINT32_MAX;
  REQUIRE(send(Message(FUSE_INIT, 0).put(in)).error == 0);
}

std::uint64_t Bench::node(std::uint64_t parent, const std::string& name) {
  const Got got = lookup(parent, name);
  REQUIRE(got.error == 0);
  return got.as<fuse_entry_out>().nodeid;
}

Got Bench::create(std::uint64_t parent, const std::string& name, std::uint32_t flags, std::uint32_t mode) {
  return send(Message(FUSE_CREATE, parent).put(fuse_create_in{flags, mode, 022, 0}).text(name));
}

Got Bench::read(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, std::uint32_t size) {
  fuse_read_in in{};
  in.fh = fh;
  in.offset = offset;
  in.size = size;
  return send(Message(FUSE_READ, node).put(in));
}

Got Bench::write(std::uint64_t node, std::uint64_t fh, std::uint64_t offset, const std::string& data,
                 std::uint32_t flags) {
  fuse_write_in in{};
  in.fh = fh;
  in.offset = offset;
  in.size = static_cast<std::uint32_t>(data.size());
  in.flags = flags;
  return send(Message(FUSE_WRITE, node).put(in).raw(data));
}

Got Bench::rename(std::uint64_t from, const std::string& name, std::uint64_t to, const std::string& as,
                  std::uint32_t flags) {
  return send(Message(FUSE_RENAME2, from).put(fuse_rename2_in{to, flags, 0}).text(name).text(as));
}

std::map<std::string, std::uint64_t> Bench::list(std::uint64_t node, bool plus, std::uint32_t size) {
  std::map<std::string, std::uint64_t> found;
  const Got opened = send(Message(FUSE_OPENDIR, node).put(fuse_open_in{}));
  REQUIRE(opened.error == 0);
  fuse_read_in in{};
  in.fh = opened.as<fuse_open_out>().fh;
  in.size = size;
  for (;;) {
    const Got got = send(Message(plus ? FUSE_READDIRPLUS : FUSE_READDIR, node).put(in));
    REQUIRE(got.error == 0);
    CHECK(got.body.size() <= size);
    if (got.body.empty()) break;
    for (std::size_t at = 0; at < got.body.size();) {
      fuse_entry_out entry{};
      if (plus) {
        std::memcpy(&entry, got.body.data() + at, sizeof entry);
        at += sizeof entry;
      }
      fuse_dirent record{};
      std::memcpy(&record, got.body.data() + at, FUSE_NAME_OFFSET);
      const std::string name = got.body.substr(at + FUSE_NAME_OFFSET, record.namelen);
      CHECK_MESSAGE(found.emplace(name, entry.nodeid).second, name, " came twice");
      in.offset = record.off;
      at += FUSE_REC_ALIGN(FUSE_NAME_OFFSET + record.namelen);
    }
  }
  fuse_release_in release{};
  release.fh = in.fh;
  CHECK(send(Message(FUSE_RELEASEDIR, node).put(release)).error == 0);
  return found;
}

std::vector<Message> mutations(std::uint64_t directory, std::uint64_t file) {
  fuse_setattr_in attributes{};
  attributes.valid = FATTR_MODE;
  fuse_copy_file_range_in copy{};
  copy.nodeid_out = file;
  fuse_write_in write{};
  write.size = 3;
  return {
      Message(FUSE_SETATTR, file).put(attributes),
      Message(FUSE_SYMLINK, directory).text("new").text("target"),
      Message(FUSE_MKNOD, directory).put(fuse_mknod_in{S_IFREG | 0644, 0, 0, 0}).text("new"),
      Message(FUSE_MKDIR, directory).put(fuse_mkdir_in{0755, 0}).text("new"),
      Message(FUSE_UNLINK, directory).text("file"),
      Message(FUSE_RMDIR, directory).text("folder"),
      Message(FUSE_RENAME, directory).put(fuse_rename_in{directory}).text("file").text("new"),
      Message(FUSE_RENAME2, directory).put(fuse_rename2_in{directory, 0, 0}).text("file").text("new"),
      Message(FUSE_LINK, directory).put(fuse_link_in{file}).text("new"),
      Message(FUSE_OPEN, file).put(fuse_open_in{O_WRONLY, 0}),
      Message(FUSE_OPEN, file).put(fuse_open_in{O_RDWR, 0}),
      Message(FUSE_OPEN, file).put(fuse_open_in{O_RDONLY | O_TRUNC, 0}),
      Message(FUSE_OPEN, file).put(fuse_open_in{3, 0}),
      Message(FUSE_WRITE, file).put(write).raw("abc"),
      Message(FUSE_CREATE, directory).put(fuse_create_in{O_RDWR, 0644, 0, 0}).text("new"),
      Message(FUSE_CREATE, directory).put(fuse_create_in{O_RDONLY, 0644, 0, 0}).text("file"),
      Message(FUSE_TMPFILE, directory).put(fuse_create_in{O_RDWR, 0644, 0, 0}).text("/"),
      Message(FUSE_FALLOCATE, file).put(fuse_fallocate_in{}),
      Message(FUSE_COPY_FILE_RANGE, file).put(copy),
  };
}

}  // namespace sandforge::fsd::test
