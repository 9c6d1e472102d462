#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# run_tests.sh with a daemon: live_tests.sh BUILD_DIR SANDFORGED [BACKEND]
# Starts SANDFORGED on a free port with a state directory of its own under BUILD_DIR,
# runs everything against it, and stops it. BACKEND is the one that the tests ask for.
set -eu

if [ $# -lt 2 ] || [ $# -gt 3 ]; then
  echo "usage: $0 BUILD_DIR SANDFORGED [BACKEND]" >&2
  exit 2
fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
mkdir -p "$1"
build=$(CDPATH='' cd -- "$1" && pwd)
# shellcheck source=test/daemon.sh
. "$here/../../test/daemon.sh"

finish() {
  status=$?
  trap '' INT TERM
  trap - EXIT
  daemon_stop || [ "$status" -ne 0 ] || status=1
  exit "$status"
}
trap finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

daemon_start "$2" "$build" --listen 127.0.0.1:0
export SANDFORGE_URL="$daemon_url"
if [ -n "${3:-}" ]; then export SANDFORGE_BACKEND="$3"; fi
sh "$here/run_tests.sh" "$build"
