#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Sets up, builds and tests everything on a fresh Debian 12 machine. `--full` takes the long forms of the long tests.
#   sh test/run.sh [--full] [--only SUITE[,SUITE…]] [--list]
set -eu
cd "$(dirname "$0")/.."
sh test/setup.sh test
exec /usr/bin/python3 test/suites.py "$@"
