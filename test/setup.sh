#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs the Debian packages that a task needs: setup.sh GROUP...
#   build  compile the library, the daemon and the guest agent
#   image  build the guest image
#   kernel build an image with a kernel of our own (image build --kernel built)
#   run    run sandboxes and the Python SDK's examples
#   test   all of these, and what else test/run.sh uses
# Quick and silent when all are there: then neither apt-get nor the network is touched.
set -eu

packages_of() {
  case $1 in
    build)
      echo g++ meson ninja-build pkg-config libasio-dev libcpp-httplib-dev \
        libsimdjson-dev libfmt-dev libtomlplusplus-dev libmd-dev
      ;;
    image)
      echo mmdebstrap erofs-utils e2fsprogs kmod cpio xz-utils lz4 zstd gpg ca-certificates
      ;;
    kernel)
      packages_of image
      echo gcc libc6-dev make binutils flex bison bc perl-base libelf-dev
      ;;
    run)
      echo qemu-system-x86 e2fsprogs python3-venv ca-certificates curl
      ;;
    test)
      packages_of build
      packages_of kernel
      packages_of run
      echo doctest-dev ccache clang clang-format clang-tidy libclang-rt-14-dev \
        llvm-14 abigail-tools strace git shellcheck busybox-static
      ;;
    *)
      echo "setup.sh: unknown group '$1'; there are build, image, kernel, run and test" >&2
      return 2
      ;;
  esac
}

if [ $# -eq 0 ]; then
  echo "usage: $0 build|image|run|test..." >&2
  exit 2
fi

wanted=
for group in "$@"; do
  wanted="$wanted $(packages_of "$group")"
done

if ! command -v dpkg-query >/dev/null; then
  echo "setup.sh: this is no Debian system; install the counterparts of:$wanted" >&2
  exit 1
fi

# One query for all: lines of "installed NAME". Its status is non-zero when a package is
# unknown, which only means that it is missing.
# shellcheck disable=SC2086 # a list of words on purpose, here and below
installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' $wanted 2>/dev/null) || true
missing=
for package in $wanted; do
  case "
$installed
" in
    *"
installed $package
"*) ;;
    *) missing="$missing $package" ;;
  esac
done
[ -n "$missing" ] || exit 0

if [ "$(id -u)" -ne 0 ]; then
  echo "setup.sh: packages are missing; run as root, or first run:" >&2
  echo "  sudo sh $0 $*" >&2
  exit 1
fi

echo "setup.sh: installing$missing"
export DEBIAN_FRONTEND=noninteractive
apt-get -qq update
# shellcheck disable=SC2086
apt-get -qq -o Dpkg::Use-Pty=0 install -y --no-install-recommends $missing
