#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the build into a folder and builds a C and a C++ program against it, outside the tree, by pkg-config alone.
#   install.sh BUILD_DIR
set -eu
root=$(CDPATH='' cd -- "$(dirname -- "$0")/../.." && pwd)
build=$(CDPATH='' cd -- "$1" && pwd)
stage=$build/installed
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
check() {
  echo "ok: $1"
  passed=$((passed + 1))
}

rm -rf "$stage"
DESTDIR=$stage meson install -C "$build" --no-rebuild --quiet
prefix=$stage$(meson introspect --buildoptions "$build" |
  python3 -c 'import json, sys; print(next(o["value"] for o in json.load(sys.stdin) if o["name"] == "prefix"))')
pc=$(find "$stage" -name sandforge.pc)
library=$(dirname "$(dirname "$pc")")
for file in bin/sandforged bin/sandforge include/sandforge/sandforge.h include/sandforge/sandforge.hpp \
  share/man/man1/sandforged.1 libexec/sandforge/sandforge-agent libexec/sandforge/sandforge-fsd; do
  test -e "$prefix/$file" || { echo "not installed: $file"; exit 1; }
done
check "programs, headers, helpers and manual page are installed"

export PKG_CONFIG_SYSROOT_DIR="$stage" PKG_CONFIG_PATH="$library/pkgconfig"
# shellcheck disable=SC2046 # words on purpose
gcc -std=c11 -Wall -Wextra -Werror -o "$work/c" "$root/examples/quickstart.c" $(pkg-config --cflags --libs sandforge)
check "a C program builds by pkg-config"
# shellcheck disable=SC2046
g++ -std=c++20 -Wall -Wextra -Werror -o "$work/cpp" "$root/examples/quickstart.cpp" $(pkg-config --cflags --libs sandforge)
check "a C++ program builds by pkg-config"
for program in c cpp; do
  SANDFORGE_STATE_DIR=$work/state LD_LIBRARY_PATH=$library "$work/$program" fake >"$work/out"
  grep -q Hello "$work/out"
  check "the $program program runs against the installed library"
done
LD_LIBRARY_PATH=$library "$prefix/bin/sandforge" version | grep -q '[0-9]'
check "the installed daemon says its version"
echo "$passed passed, 0 failed, 0 skipped"
