// SPDX-License-Identifier: Apache-2.0
#include "agent/users.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>

#include "agent/rooted_path.hpp"
#include "agent/small_io.hpp"
#include "base/limits.hpp"

namespace sandforge::agent {

namespace {
// -1 as an id means "leave as it is" to the kernel and is no user.
std::optional<std::uint32_t> number_in(std::string_view text) {
  std::uint32_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value == UINT32_MAX) return std::nullopt;
  return value;
}

// The next piece up to `separator`; `rest` goes behind it.
std::string_view cut(std::string_view& rest, char separator) {
  const std::size_t at = rest.find(separator);
  const std::string_view piece = rest.substr(0, at);
  rest = at == std::string_view::npos ? std::string_view() : rest.substr(at + 1);
  return piece;
}

// The fields of a line, false when there are too few.
template <std::size_t N>
bool split(std::string_view line, std::array<std::string_view, N>& fields) {
  if (std::count(line.begin(), line.end(), ':') < static_cast<std::ptrdiff_t>(N) - 1) return false;
  for (std::string_view& field : fields) field = cut(line, ':');
  return true;
}

bool lists(std::string_view members, std::string_view name) {
  while (!members.empty()) {
    if (cut(members, ',') == name) return true;
  }
  return false;
}

std::optional<gid_t> find_group(std::string_view group, std::string_view wanted) {
  while (!group.empty()) {
    std::array<std::string_view, 3> fields;
    if (!split(cut(group, '\n'), fields) || fields[0] != wanted) continue;
    if (const auto gid = number_in(fields[2])) return *gid;
  }
  return number_in(wanted);
}
}  // namespace

base::Result<User> find_user(std::string_view passwd, std::string_view group, std::string_view wanted) {
  std::string_view wanted_group = wanted;
  const std::string_view name = cut(wanted_group, ':');
  const auto number = number_in(name);
  User user;
  std::string_view login;
  for (std::string_view rest = passwd; !rest.empty() && login.empty();) {
    std::array<std::string_view, 6> fields;
    if (!split(cut(rest, '\n'), fields) || fields[0].empty()) continue;
    const auto uid = number_in(fields[2]);
    const auto gid = number_in(fields[3]);
    if (!uid || !gid || (fields[0] != name && uid != number)) continue;
    user.uid = *uid;
    user.gid = *gid;
    user.home = fields[5].starts_with('/') ? std::string(fields[5]) : "/";
    login = fields[0];
  }
  if (login.empty()) {
    if (!number) {
      return base::make_error(base::Code::NotFound, "unknown_user",
                              "no user \"" + std::string(name) + "\" in the guest",
                              "use a name of its /etc/passwd, or a number");
    }
    user.uid = *number;
    user.gid = *number == 0 ? 0 : static_cast<gid_t>(*number);
    user.home = *number == 0 ? "/root" : "/";
  }
  if (wanted.find(':') != std::string_view::npos) {
    const auto gid = find_group(group, wanted_group);
    if (!gid) {
      return base::make_error(base::Code::NotFound, "unknown_group",
                              "no group \"" + std::string(wanted_group) + "\" in the guest");
    }
    user.gid = *gid;
    return user;
  }
  for (std::string_view rest = group; !login.empty() && !rest.empty() && user.groups.size() < limits::kUserGroupsMax;) {
    std::array<std::string_view, 4> fields;
    if (!split(cut(rest, '\n'), fields) || !lists(fields[3], login)) continue;
    const auto gid = number_in(fields[2]);
    if (gid && *gid != user.gid) user.groups.push_back(*gid);
  }
  return user;
}

base::Result<User> load_user(int root, std::string_view wanted) {
  std::array<std::string, 2> texts;
  constexpr std::array<const char*, 2> kPaths = {"/etc/passwd", "/etc/group"};
  for (std::size_t i = 0; i < kPaths.size(); ++i) {
    // A missing file is an empty one: numbers work without it.
    const auto file = open_regular(root, kPaths[i]);
    if (!file) continue;
    auto text = read_open_file(file.value().get(), limits::kUserFileMax);
    if (text) texts[i] = std::move(text).value();
  }
  return find_user(texts[0], texts[1], wanted);
}

}  // namespace sandforge::agent
