# SPDX-License-Identifier: Apache-2.0
# Runs in the new root file system, as its root, when all packages are installed: takes out what depends on the time or
# the host, or is of no use in a guest. Lines that the recipe asks for (files, links) follow this text.
set -eu

# Set by the bootstrap from the building host. A link must go first: it might lead anywhere.
rm -f /etc/hostname /etc/resolv.conf /etc/machine-id /var/lib/dbus/machine-id
: >/etc/machine-id
: >/etc/resolv.conf

# Not /tmp: mmdebstrap's own configuration of apt is there until it has cleaned up (without it, it would clean the host).
rm -rf /var/cache/debconf/*-old /var/lib/dpkg/*-old /var/cache/ldconfig/aux-cache
rm -f /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid- /etc/.pwd.lock
find /var/log -type f -delete
find /usr/share/doc /usr/share/man /usr/share/info /usr/share/locale -mindepth 1 -delete 2>/dev/null || true

# The day of the last password change is the day of the build.
if [ -f /etc/shadow ]; then sed -i 's/^\([^:]*:[^:]*\):[0-9]*:/\1:19000:/' /etc/shadow; fi

# Python's bytecode names the time of its source. Every file of the image will have the time SOURCE_DATE_EPOCH, so the
# sources get it now, and bytecode made after that stays valid: first imports in a guest need not compile.
find / -xdev -name __pycache__ -type d -prune -exec rm -rf {} +
if [ -x /usr/bin/python3 ]; then
  find /usr/lib/python3* -name '*.py' -type f -exec touch --date="@$SOURCE_DATE_EPOCH" {} +
  env -u SOURCE_DATE_EPOCH PYTHONHASHSEED=0 python3 -m compileall -q -j1 --invalidation-mode timestamp \
    /usr/lib/python3* >/dev/null 2>&1 || true
fi
