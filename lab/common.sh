# Settings and messages that the lab's shell files share. Sourced by lab.sh.
# shellcheck shell=bash

LAB_ROOT=$(dirname "$LAB_DIR")
LAB_STATE=${MMSTACK_LAB_STATE:-$LAB_ROOT/.mmstack/lab}
LAB_IMAGES=${MMSTACK_LAB_IMAGES:-lab}
# Seconds until a started engine has to answer.
LAB_ENGINE_DEADLINE=${MMSTACK_LAB_ENGINE_DEADLINE:-60}
# The socket on which a local engine is looked for, and started.
LAB_SOCKET=${MMSTACK_LAB_SOCKET:-/var/run/docker.sock}
# More arguments for a dockerd that the lab starts, split at spaces.
LAB_DOCKERD_ARGS=${MMSTACK_LAB_DOCKERD_ARGS:-}

say() {
  printf 'lab: %s\n' "$*"
}

# fail WHAT-AND-WHY WHAT-TO-DO...
fail() {
  printf 'lab: error: %s\n' "$1" >&2
  shift
  local hint
  for hint in "$@"; do
    printf 'lab:   do: %s\n' "$hint" >&2
  done
  exit 1
}

need_python() {
  if ! command -v python3 >/dev/null || ! python3 -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    fail "Python 3.11 or newer is needed as python3" "install it, e.g. apt-get install python3"
  fi
}

is_root() {
  [[ $EUID -eq 0 ]]
}

state_folder() {
  mkdir -p "$LAB_STATE" || fail "the lab's folder $LAB_STATE can't be made" "make its parent writable for $(id -un), or set MMSTACK_LAB_STATE to another folder"
}

under_systemd() {
  [[ -d /run/systemd/system ]]
}

case $LAB_IMAGES in
  lab | upstream) ;;
  *) fail "MMSTACK_LAB_IMAGES is '$LAB_IMAGES', which means nothing" "set it to 'lab' or 'upstream', or unset it" ;;
esac
case $LAB_SOCKET in
  /*) ;;
  *) fail "MMSTACK_LAB_SOCKET is '$LAB_SOCKET', which is not an absolute path" "e.g. MMSTACK_LAB_SOCKET=/var/run/docker.sock" ;;
esac

# One engine for every command below and for the project: the socket, never the CLI's current context.
if [[ -z ${DOCKER_HOST:-} ]]; then
  LAB_ENGINE_CHOSEN=""
  export DOCKER_HOST="unix://$LAB_SOCKET"
else
  LAB_ENGINE_CHOSEN=$DOCKER_HOST
fi
# A client unpacked by the lab (packages.sh) is found before anything else.
export PATH="$LAB_STATE/bin:$PATH"
