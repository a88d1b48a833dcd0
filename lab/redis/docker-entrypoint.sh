#!/bin/bash
# Behaves as the official image's entrypoint does: options become redis-server's, root gives /data to
# the user redis and steps down to it, and protected mode is off unless a setting says otherwise
# (in a container every client comes from another address).
set -euo pipefail

if [[ ${1:-} == -* || ${1:-} == *.conf ]]; then
  set -- redis-server "$@"
fi

if [[ ${1:-} == redis-server ]]; then
  if [[ $(id -u) == 0 ]]; then
    find . \! -user redis -exec chown redis:redis '{}' +
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
  fi
  if [[ $(umask) == 0022 ]]; then
    umask 0077
  fi
  if [[ " $* " != *" --protected-mode "* ]] && ! { [[ -r ${2:-} ]] && grep -qi '^ *protected-mode' "$2"; }; then
    set -- "$@" --protected-mode no
  fi
fi

exec "$@"
