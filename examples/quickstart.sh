#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# The quick start, end to end: quickstart.sh [BUILD_DIR]
# On a fresh Debian 12 as root: installs what it needs, builds Sandforge and the guest
# image, starts the daemon, and runs the examples of the SDK's documentation with the
# published SDK, unmodified. Leaves nothing running. What was done once (packages,
# build, image, virtual environment) is not done again.
set -eu

sdk_version=0.1.1
port=8080 # the examples, as printed, ask for http://localhost:8080

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
build=${1:-$root/build}
examples=$root/examples/quickstart
started=$(date +%s)
# shellcheck source=test/daemon.sh
. "$root/test/daemon.sh"
child= # pid of the step that runs now

step() {
  printf '\n==> [%3d s] %s\n' "$(($(date +%s) - started))" "$1"
}

fail() {
  echo "quickstart: $*" >&2
  exit 1
}

# Runs a long step so that a signal to this script is acted on at once.
run() {
  "$@" &
  child=$!
  run_status=0
  wait "$child" || run_status=$?
  child=
  return "$run_status"
}

finish() {
  status=$?
  trap '' INT TERM HUP
  trap - EXIT
  if [ -n "$child" ]; then
    kill -TERM "$child" 2>/dev/null || true
    wait "$child" || true
  fi
  daemon_stop || [ "$status" -ne 0 ] || status=1
  exit "$status"
}
trap finish EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM

# Fails when someone listens where the examples will ask, on either of the addresses
# that "localhost" may mean.
check_port() {
  python3 - "$port" <<'EOF'
import errno, socket, sys
for family, address in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((address, int(sys.argv[1])))
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            sys.exit(1)
EOF
}

# The published SDK in a virtual environment, made once per version.
make_venv() {
  stamp="sandforge-sdk $sdk_version, $(python3 --version)"
  if [ "$(cat "$work/venv/stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$work/venv"
    run python3 -m venv "$work/venv"
    run "$work/venv/bin/pip" install --quiet --disable-pip-version-check \
      "sandforge-sdk==$sdk_version"
    printf '%s\n' "$stamp" >"$work/venv/stamp"
  fi
}

# as_expected EXPECT OUTPUT: line by line, each EXPECT line an extended regular expression.
as_expected() {
  exec 4<"$1" 5<"$2"
  matched=true
  while IFS= read -r pattern <&4; do
    IFS= read -r line <&5 && printf '%s\n' "$line" | grep -Exq -e "$pattern" || matched=false
  done
  if IFS= read -r line <&5; then matched=false; fi
  exec 4<&- 5<&-
  $matched
}

# Runs one example, shows what it printed and says whether that is what it should.
run_example() {
  name=$(basename "$1" .py)
  printf '\n--- %s\n' "$name"
  example_status=0
  run timeout 120 "$work/venv/bin/python" "$1" >"$work/$name.out" 2>&1 || example_status=$?
  cat "$work/$name.out"
  total=$((total + 1))
  if [ "$example_status" -ne 0 ]; then
    echo "quickstart: $name FAILED with status $example_status" >&2
  elif ! as_expected "${1%.py}.expect" "$work/$name.out"; then
    echo "quickstart: $name FAILED: its output is not what ${1%.py}.expect describes" >&2
  else
    passed=$((passed + 1))
  fi
}

step "packages"
run sh "$root/test/setup.sh" build image run
check_port || fail "port $port of localhost is taken, and the examples need it: stop what listens there"

step "build in $build"
if [ ! -f "$build/build.ninja" ]; then
  run meson setup "$build" "$root" --buildtype=release -Dtests=disabled
fi
run ninja -C "$build"
work=$(CDPATH='' cd -- "$build" && pwd)/quickstart
mkdir -p "$work"

step "guest image"
run "$build/sandforged/sandforged" image build

step "published SDK: sandforge-sdk $sdk_version"
make_venv

step "sandforged on 127.0.0.1:$port"
daemon_start "$build/sandforged/sandforged" "$work" --listen "127.0.0.1:$port"

step "examples of the SDK's documentation"
# A proxy is not asked for the local daemon.
no_proxy=localhost,127.0.0.1${no_proxy:+,$no_proxy}
NO_PROXY=$no_proxy
export no_proxy NO_PROXY
# What the example with a mount shows the guest.
PROJECT=$work/project
mkdir -p "$PROJECT"
echo "A project of the host." >"$PROJECT/README"
printf '#!/bin/sh\necho built\n' >"$PROJECT/build.sh"
chmod 755 "$PROJECT/build.sh"
export PROJECT
total=0
passed=0
for example in "$examples"/*.py; do
  run_example "$example"
done
echo "network mode \"fetch\" comes with a later release: the last example was refused it, and went on without"

step "stop"
daemon_stop

step "$passed of $total examples as documented"
[ "$passed" -eq "$total" ]
