#!/usr/bin/env bash
# A minimal Debian root file system as a tar on standard output; messages go to standard error.
#   rootfs.sh SUITE MIRROR SECURITY-MIRROR WORK-FOLDER
set -euo pipefail

suite=$1 mirror=$2 security=$3 root=$4/rootfs

debootstrap --variant=minbase --include=ca-certificates,curl,wget "$suite" "$root" "$mirror" >&2

cat >"$root/etc/apt/sources.list" <<SOURCES
deb $mirror $suite main
deb $mirror $suite-updates main
deb $security $suite-security main
SOURCES
cat >"$root/etc/apt/apt.conf.d/90lab" <<'CONF'
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "3";
CONF
# Packages must not start their service while an image is built.
printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cat >"$root/etc/dpkg/dpkg.cfg.d/90lab" <<'CONF'
path-exclude=/usr/share/doc/*
path-include=/usr/share/doc/*/copyright
path-exclude=/usr/share/man/*
path-exclude=/usr/share/info/*
path-exclude=/usr/share/locale/*
CONF
rm -rf "$root"/var/cache/apt/* "$root"/var/lib/apt/lists/* "$root"/var/log/* \
  "$root"/usr/share/man/* "$root"/usr/share/info/* "$root"/usr/share/locale/*
find "$root/usr/share/doc" -type f ! -name copyright -delete
mkdir -p "$root/var/log/apt" "$root/var/lib/apt/lists/partial" "$root/var/cache/apt/archives/partial"

tar --numeric-owner -C "$root" -c .
