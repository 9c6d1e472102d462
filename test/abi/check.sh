#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Compares what sandforge.h declares, what sandforge.map lists and what the library exports; the error numbers with
# their registry; and, once a baseline is stored, the whole ABI with it.
#   check.sh SOURCE_ROOT LIBRARY
set -eu
root=$1
library=$2
header=$root/include/sandforge/sandforge.h
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
passed=0
failed=0

# same NAME FILE FILE: passes when the two lists are equal, else prints the difference.
same() {
  if diff -u "$2" "$3" > "$work/diff"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "$1 differ:"
    cat "$work/diff"
  fi
}

tr '\n' ' ' < "$header" | tr ';' '\n' | sed -n 's/.*SANDFORGE_API[^(]*[ *]\(sandforge_[a-z0-9_]*\)(.*/\1/p' |
  sort > "$work/header"
sed -n 's/^ *\(sandforge_[a-z0-9_]*\);$/\1/p' "$root/libsandforge/sandforge.map" | sort > "$work/map"
# A name is name@@VERSION, the version itself an absolute symbol. Sanitizers add exports of their own.
nm -D --defined-only "$library" | sed -n 's/^[0-9a-f]* [A-Z] \([^@]*\)@*.*$/\1/p' |
  grep -v -e '^SANDFORGE_0$' -e '^__asan' -e '^__ubsan' -e '^__odr_asan' | sort > "$work/exports"
[ -s "$work/header" ] || { echo "no function found in $header"; exit 1; }
same "functions of sandforge.h and of sandforge.map" "$work/header" "$work/map"
same "functions of sandforge.map and exports of the library" "$work/map" "$work/exports"

sed -n 's/^\([0-9]*\) \([a-z_]*\) .*/\1 \2/p' "$root/libsandforge/error_codes" > "$work/registry"
sed -n '/^  SANDFORGE_OK = 0/,/^};/p' "$header" |
  sed -n 's/^ *SANDFORGE_\([A-Z_]*\) = \([0-9]*\).*/\2 \1/p' | tr 'A-Z' 'a-z' > "$work/codes"
same "error codes of sandforge.h and of the registry" "$work/registry" "$work/codes"

if [ -e "$root/test/abi/baseline.abi" ] && command -v abidiff > /dev/null; then
  if abidiff --no-added-syms "$root/test/abi/baseline.abi" "$library" > "$work/diff"; then
    passed=$((passed + 1))
  else
    failed=$((failed + 1))
    echo "the ABI differs from its baseline:"
    cat "$work/diff"
  fi
fi
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
