#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Checks and tests of the Python SDK: run_tests.sh BUILD_DIR
# Linters, types and unit tests always; with SANDFORGE_URL set also the tests against
# that daemon, once with this package and once with the published one, each in a
# virtual environment of its own under BUILD_DIR (made once, kept by a stamp).
# SANDFORGE_BACKEND names the backend to use, else the daemon chooses.
set -eu

if [ $# -ne 1 ]; then
  echo "usage: $0 BUILD_DIR" >&2
  exit 2
fi
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd)
examples=$here/../../examples/python
mkdir -p "$1"
build=$(CDPATH='' cd -- "$1" && pwd)

# The version that the drop-in promise is about.
published_version=0.1.1

# The sources stay clean, and a proxy is not asked for the daemon.
export PYTHONDONTWRITEBYTECODE=1
export BLACK_CACHE_DIR="$build/black-cache"
no_proxy=localhost,127.0.0.1${no_proxy:+,$no_proxy}
NO_PROXY=$no_proxy
export no_proxy NO_PROXY

# make_venv NAME STAMP PIP_ARGUMENT...: leaves it alone when it was made by this STAMP.
make_venv() {
  name=$1
  stamp=$2
  shift 2
  if [ -f "$build/$name/stamp" ] && [ "$(cat "$build/$name/stamp")" = "$stamp" ]; then
    return 0
  fi
  echo "python: making the virtual environment $build/$name"
  rm -rf "${build:?}/$name"
  if ! python3 -m venv "$build/$name"; then
    echo "python: python3 -m venv failed; on Debian: apt-get install python3-venv" >&2
    exit 1
  fi
  "$build/$name/bin/pip" install --quiet --disable-pip-version-check "$@"
  printf '%s\n' "$stamp" >"$build/$name/stamp"
}

# A step that fails fails the whole at its end, and the others still tell what they find.
status=0
step() {
  echo "python: $1"
  shift
  "$@" || status=1
}

python=$(python3 -c 'import sys; print(sys.executable, sys.version)')
recipe=$(sha256sum "$here/pyproject.toml")
make_venv venv-ours "$python $recipe" --editable "${here}[dev]"
make_venv venv-published "$python $published_version" \
  "sandforge-sdk==$published_version" pytest
ours=$build/venv-ours/bin
published=$build/venv-published/bin

# Both import as `sandforge`: make sure that each environment has the one it is for.
cd "$build"
"$ours/python" - "$here" <<'EOF'
import os, sys, sandforge
assert os.path.samefile(os.path.dirname(os.path.dirname(sandforge.__file__)), sys.argv[1])
EOF
"$published/python" - "$published_version" <<'EOF'
import sys, sandforge
assert sandforge.__version__ == sys.argv[1], sandforge.__version__
EOF

step "black" "$ours/black" --quiet --check "$here" "$examples"
step "flake8" "$ours/flake8" --config "$here/.flake8" "$here" "$examples"
step "mypy" "$ours/mypy" --config-file "$here/pyproject.toml" \
  --cache-dir "$build/mypy-cache" "$here/sandforge" "$here/tests" "$examples"

pytest_args="-q -p no:cacheprovider"
tests=$here/tests
# shellcheck disable=SC2086 # two words on purpose
{
  step "unit tests" "$ours/pytest" $pytest_args "$tests" \
    --ignore "$tests/test_live.py" --ignore "$tests/test_live_additions.py"
  step "surface of the published package" "$published/pytest" $pytest_args \
    "$tests/test_surface.py"
  if [ -z "${SANDFORGE_URL:-}" ]; then
    echo "python: SANDFORGE_URL is not set, so the tests against a daemon are skipped"
    exit "$status"
  fi
  step "live tests, this package" "$ours/pytest" $pytest_args -rs \
    "$tests/test_live.py" "$tests/test_live_additions.py"
  step "live tests, published package" "$published/pytest" $pytest_args -rs \
    "$tests/test_live.py"
}
if [ "${SANDFORGE_BACKEND:-}" != fake ]; then
  for example in "$examples"/*.py; do
    step "example $(basename "$example")" "$ours/python" "$example"
  done
fi
exit "$status"
