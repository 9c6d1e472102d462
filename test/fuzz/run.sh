#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Replays a fuzz target's corpus, then searches on for a while: run.sh PROGRAM CORPUS SECONDS
# What it finds is put beside the program; the corpus in the tree is left alone.
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$1" -max_total_time="$3" -timeout=25 -rss_limit_mb=4096 -print_final_stats=1 \
  -artifact_prefix="$1-" "$work" "$2"
