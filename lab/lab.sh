#!/usr/bin/env bash
# The lab: a Docker engine and images with which the tests and the demo run on real servers.
#
#   bash lab/lab.sh up                 engine (reused or installed) and images (reused or built)
#   bash lab/lab.sh status             what is there, and what of it the lab brought
#   bash lab/lab.sh down [--packages]  take away what the lab brought, and nothing else
#
# Settings (environment): MMSTACK_LAB_IMAGES=upstream leaves images alone, MMSTACK_LAB_MIRROR is the
# Debian mirror for builds. docs/lab.md has the others.
set -euo pipefail

LAB_DIR=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
# shellcheck source=lab/common.sh
source "$LAB_DIR/common.sh"
# shellcheck source=lab/packages.sh
source "$LAB_DIR/packages.sh"
# shellcheck source=lab/engine.sh
source "$LAB_DIR/engine.sh"
# shellcheck source=lab/settings.sh
source "$LAB_DIR/settings.sh"
# shellcheck source=lab/tiers.sh
source "$LAB_DIR/tiers.sh"

usage() {
  sed -n '2,9s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
}

up() {
  need_python
  engine_up
  case $LAB_IMAGES in
    lab)
      base_tools
      images up
      settings_up
      ;;
    upstream) say "images: left alone (MMSTACK_LAB_IMAGES=upstream); the schema's own images are pulled when they are needed" ;;
  esac
  tiers_up
  hand_tools
}

down() {
  local packages=${1:-}
  need_python
  if engine_answers; then
    images down
  elif [[ -s $LAB_STATE/dockerd.started ]]; then
    say "images: the engine that holds them does not answer, so none was removed"
  fi
  settings_down
  tiers_down
  engine_down
  if [[ $packages == --packages ]]; then
    packages_remove
  else
    packages_mention
  fi
  # What is left are logs; the record of installed packages stays as long as they do.
  rm -f "$LAB_STATE"/apt.log "$LAB_STATE"/build-*.log "$LAB_STATE/lock"
  if [[ -d $LAB_STATE && -z $(ls -A "$LAB_STATE") ]]; then
    rmdir "$LAB_STATE"
  fi
}

status() {
  need_python
  engine_status
  if engine_answers; then
    images status
  fi
}

# What a backup is restored with by hand, and whose rules ours are compared with: tests use these
hand_tools() {
  local program missing=()
  for program in age curl restic zstd; do
    command -v "$program" >/dev/null || missing+=("$program")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then
    return
  fi
  if can_apt; then
    packages_update
    packages_install "${missing[@]}"
  else
    say "packages: ${missing[*]} not installed ($(why_no_apt)): the tests that restore by hand need them"
  fi
}

# debootstrap makes the base image; the keyring is what it checks Debian's signature with.
base_tools() {
  if ! command -v debootstrap >/dev/null && [[ $(images needs base) == yes ]]; then
    can_apt || fail "the base image has to be built with debootstrap, which is not installed, and $(why_no_apt)" \
      "on Debian or Ubuntu run as root: bash lab/lab.sh up" \
      "or, where registries can be reached, use upstream images: MMSTACK_LAB_IMAGES=upstream"
    packages_update
    packages_install debootstrap debian-archive-keyring
  fi
}

images() {
  client_required
  python3 -B "$LAB_DIR/images.py" --state "$LAB_STATE" "$@"
}

case ${1:-} in
  up)
    [[ $# -eq 1 ]] || fail "up takes no argument, got: ${*:2}" "bash lab/lab.sh up"
    up
    ;;
  down)
    [[ $# -eq 1 || ($# -eq 2 && $2 == --packages) ]] || fail "down takes only --packages, got: ${*:2}" "bash lab/lab.sh down"
    down "${2:-}"
    ;;
  status)
    [[ $# -eq 1 ]] || fail "status takes no argument, got: ${*:2}" "bash lab/lab.sh status"
    status
    ;;
  help | --help | -h) usage ;;
  *)
    usage >&2
    exit 2
    ;;
esac
