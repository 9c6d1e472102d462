# shellcheck shell=sh
# SPDX-License-Identifier: Apache-2.0
# Starts and stops a sandforged for scripts that source this file. Uses fd 3; waits for
# events, never for a time. A script that is interrupted must call daemon_stop itself.

daemon_pid= # of the daemon that runs, or empty
daemon_url= # where it listens

# daemon_start BINARY DIR ARGUMENT...: `serve` with a fresh DIR/state and its log in
# DIR/sandforged.log. Returns when the daemon says that it is ready, or with status 1.
daemon_start() {
  daemon_binary=$1
  daemon_dir=$2
  shift 2
  rm -rf "$daemon_dir/state" "$daemon_dir/output"
  mkfifo "$daemon_dir/output"
  # In a session of its own: a Ctrl-C at the terminal reaches this script alone, which then
  # sends the one signal. A second would end the daemon before its guests.
  setsid "$daemon_binary" serve --state-dir "$daemon_dir/state" "$@" \
    >"$daemon_dir/output" 2>"$daemon_dir/sandforged.log" &
  daemon_pid=$!
  exec 3<"$daemon_dir/output"
  daemon_url=$(timeout 60 sed -n -e 's/^READY listening=//p' -e q <&3) || true
  if [ -z "$daemon_url" ]; then
    echo "sandforged did not get ready; its log:" >&2
    tail -n 20 "$daemon_dir/sandforged.log" >&2
    return 1
  fi
}

# Ends the daemon and waits for it; status 1 when it did not end well or left something
# running. Its standard output, fd 3, reaches its end when the daemon and whatever
# inherited it are gone.
daemon_stop() {
  [ -n "$daemon_pid" ] || return 0
  daemon_was=$daemon_pid
  daemon_pid=
  kill -TERM "$daemon_was" 2>/dev/null || true
  if ! timeout 30 cat <&3 >/dev/null; then
    echo "sandforged (pid $daemon_was) did not stop within 30 s; killing it" >&2
    kill -KILL "$daemon_was" 2>/dev/null || true
  fi
  exec 3<&-
  daemon_status=0
  wait "$daemon_was" || daemon_status=$?
  if [ "$daemon_status" -ne 0 ]; then
    echo "sandforged ended with status $daemon_status; the end of its log:" >&2
    tail -n 20 "$daemon_dir/sandforged.log" >&2
    return 1
  fi
  # Helpers have the state directory in their command line. The pattern comes from a
  # file, so that grep does not find itself.
  printf '%s\n' "$daemon_dir/state" >"$daemon_dir/pattern"
  daemon_left=$(grep -lF -f "$daemon_dir/pattern" /proc/[0-9]*/cmdline 2>/dev/null) || true
  if [ -n "$daemon_left" ]; then
    echo "still running after sandforged has ended: $daemon_left" >&2
    return 1
  fi
  rm -rf "$daemon_dir/state" "$daemon_dir/output" "$daemon_dir/pattern"
}
