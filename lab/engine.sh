# The Docker engine: reuse one that answers, else install and start one. Sourced by lab.sh.
# shellcheck shell=bash

# What the lab started itself: "systemd", or the process id and start time of a dockerd.
LAB_STARTED_FILE=$LAB_STATE/dockerd.started
LAB_DOCKERD_LOG=$LAB_STATE/dockerd.log
# dockerd's own pid file; another one only where the extra arguments say so.
LAB_DOCKERD_PIDFILE=/var/run/docker.pid
if [[ $LAB_DOCKERD_ARGS =~ --pidfile[=\ ]([^ ]+) ]]; then
  LAB_DOCKERD_PIDFILE=${BASH_REMATCH[1]}
fi

# A dockerd starts a containerd of its own and keeps its pid file here.
LAB_EXEC_ROOT=/var/run/docker
if [[ $LAB_DOCKERD_ARGS =~ --exec-root[=\ ]([^ ]+) ]]; then
  LAB_EXEC_ROOT=${BASH_REMATCH[1]}
fi

engine_answers() {
  [[ -z $(engine_silence) ]]
}

# Prints why the engine does not answer; nothing when it does. The text is the answer, so that a
# failing exit code, which would end the script, is left aside.
engine_silence() {
  case $DOCKER_HOST in
    unix://*) python3 -B "$LAB_DIR/probe.py" "${DOCKER_HOST#unix://}" || true ;;
    *)
      client_required
      docker version --format '{{.Server.Version}}' 2>&1 >/dev/null || true
      ;;
  esac
}

engine_up() {
  if engine_answers; then
    client_up
    say "engine: $(engine_describe), already there"
    return 0
  fi
  if [[ -n $LAB_ENGINE_CHOSEN ]]; then
    fail "DOCKER_HOST is $LAB_ENGINE_CHOSEN and nothing answers there: $(engine_silence)" \
      "start that engine, or unset DOCKER_HOST to let the lab use $LAB_SOCKET"
  fi
  is_root || fail "no Docker engine answers at $LAB_SOCKET ($(engine_silence)), and this user is not root and can't install or start one" \
    "if one runs, join its group: usermod -aG docker $(id -un), then log in again" \
    "or run as root: bash lab/lab.sh up"
  state_folder
  engine_forget_dead
  if ! command -v dockerd >/dev/null; then
    engine_install
  fi
  if ! engine_answers; then
    if [[ $LAB_SOCKET == /var/run/docker.sock ]] && under_systemd; then
      engine_start_systemd
    else
      engine_start_process
    fi
  fi
  client_up
  say "engine: $(engine_describe), started by the lab"
}

client_up() {
  if command -v docker >/dev/null; then
    return 0
  fi
  can_apt || fail "an engine answers at $DOCKER_HOST, but there is no docker command, and $(why_no_apt)" \
    "install a Docker client, e.g. the package docker-cli or docker.io"
  client_unpack
}

engine_install() {
  can_apt || fail "no Docker engine answers at $LAB_SOCKET, none is installed, and $(why_no_apt)" \
    "on Debian or Ubuntu run as root: bash lab/lab.sh up" \
    "elsewhere install Docker (https://docs.docker.com/engine/install/), start it, and run this again"
  packages_update
  local wanted=(docker.io iptables ca-certificates) optional
  # The client is a package of its own in newer releases; Compose is only used to check generated files.
  for optional in docker-cli docker-compose; do
    if package_offered "$optional"; then
      wanted+=("$optional")
    fi
  done
  # The package may start the engine by itself: it is the lab's either way.
  packages_install "${wanted[@]}"
  if engine_wait 3; then
    engine_remember
  fi
}

# Files that a killed dockerd leaves behind stop the next one from starting.
engine_forget_dead() {
  local pid
  if [[ -s $LAB_STARTED_FILE ]] && ! engine_started_alive; then
    say "engine: the dockerd that the lab had started is gone; forgetting it"
    rm -f "$LAB_STARTED_FILE"
  fi
  if [[ -s $LAB_DOCKERD_PIDFILE ]]; then
    pid=$(<"$LAB_DOCKERD_PIDFILE")
    if is_dockerd "$pid"; then
      say "engine: dockerd runs as process $pid but does not answer yet; waiting up to $LAB_ENGINE_DEADLINE s"
      if engine_wait "$LAB_ENGINE_DEADLINE" "$pid"; then
        return 0
      fi
      if is_dockerd "$pid"; then
        fail "dockerd (process $pid) does not answer at $LAB_SOCKET: $(engine_silence)" \
          "if it listens elsewhere, set DOCKER_HOST to that; else look at its log, stop it (kill $pid), and run this again"
      fi
    fi
    say "engine: $LAB_DOCKERD_PIDFILE names process $pid, which is no dockerd; removing the file"
    rm -f "$LAB_DOCKERD_PIDFILE"
  fi
  engine_forget_containerd
}

# A new dockerd waits in vain for the containerd of a killed one, if a process with its id is still there:
# a dying one, a zombie, or by now another program.
engine_forget_containerd() {
  local file=$LAB_EXEC_ROOT/containerd/containerd.pid pid deadline
  if [[ ! -s $file ]] || engine_answers; then
    return 0
  fi
  pid=$(<"$file")
  deadline=$((SECONDS + 3))
  # It dies with its dockerd, a moment later; one that lives on is taken over by the next.
  while [[ $(process_identity "$pid") == "containerd "* ]]; do
    if [[ $SECONDS -ge $deadline ]]; then
      return 0
    fi
    sleep 0.1
  done
  say "engine: $file names process $pid, which is no containerd; removing the file"
  rm -f "$file"
}

engine_start_systemd() {
  say "engine: systemctl start docker"
  systemctl start docker || fail "systemctl start docker failed" "see: journalctl -u docker -n 50"
  engine_wait "$LAB_ENGINE_DEADLINE" || fail "docker.service was started but does not answer at $LAB_SOCKET within $LAB_ENGINE_DEADLINE s" \
    "see: journalctl -u docker -n 50"
  engine_remember
}

engine_start_process() {
  local pid args=()
  read -r -a args <<<"$LAB_DOCKERD_ARGS"
  say "engine: starting dockerd (log: $LAB_DOCKERD_LOG)"
  setsid dockerd --host "unix://$LAB_SOCKET" "${args[@]}" >"$LAB_DOCKERD_LOG" 2>&1 </dev/null &
  pid=$!
  disown "$pid"
  if ! engine_wait "$LAB_ENGINE_DEADLINE" "$pid"; then
    tail -n 15 "$LAB_DOCKERD_LOG" >&2
    if process_alive "$pid"; then
      kill "$pid"
      fail "dockerd did not answer at $LAB_SOCKET within $LAB_ENGINE_DEADLINE s; stopped it again" \
        "see the lines above (log: $LAB_DOCKERD_LOG); MMSTACK_LAB_ENGINE_DEADLINE gives it more seconds"
    fi
    fail "dockerd ended while it started" \
      "see the lines above (log: $LAB_DOCKERD_LOG); it needs root, cgroups and, unless --iptables=false, iptables"
  fi
  engine_remember "$pid"
}

# engine_wait SECONDS [PID]: until the engine answers; fails at the deadline, or when PID has ended.
engine_wait() {
  local deadline=$((SECONDS + $1))
  while ! engine_answers; do
    if [[ $SECONDS -ge $deadline ]]; then
      return 1
    fi
    if [[ -n ${2:-} ]] && ! process_alive "$2"; then
      return 1
    fi
    sleep 0.2
  done
}

# engine_remember [PID]: note that the engine that answers now is the lab's.
engine_remember() {
  local pid=${1:-}
  if [[ -z $pid ]] && under_systemd; then
    echo systemd >"$LAB_STARTED_FILE"
    return 0
  fi
  if [[ -z $pid ]]; then
    pid=$(<"$LAB_DOCKERD_PIDFILE")
  fi
  echo "$pid $(process_identity "$pid")" >"$LAB_STARTED_FILE"
}

# The process that the lab started still runs; a process id alone may have been given to another one.
engine_started_alive() {
  local pid identity
  read -r pid identity <"$LAB_STARTED_FILE"
  if [[ $pid == systemd ]]; then
    systemctl is-active --quiet docker
    return
  fi
  [[ -n $identity && $(process_identity "$pid") == "$identity" ]]
}

engine_down() {
  if [[ ! -s $LAB_STARTED_FILE ]]; then
    say "engine: not started by the lab, so it is left as it is"
    return 0
  fi
  local pid containers
  if engine_answers; then
    containers=$(docker ps --format '  {{.Names}}  {{.Image}}  {{.Status}}')
    if [[ -n $containers ]]; then
      printf '%s\n' "$containers" >&2
      fail "the engine runs the containers above, so it is not stopped" \
        "stop what should go (e.g. make stop-dev), then run 'bash lab/lab.sh down' again"
    fi
  fi
  if engine_started_alive; then
    read -r pid _ <"$LAB_STARTED_FILE"
    if [[ $pid == systemd ]]; then
      say "engine: systemctl stop docker.socket docker"
      systemctl stop docker.socket docker
    else
      say "engine: stopping dockerd (process $pid)"
      kill "$pid"
      engine_wait_gone "$pid" 30 || fail "dockerd (process $pid) still runs 30 s after SIGTERM" "look at $LAB_DOCKERD_LOG; kill -9 $pid ends it"
    fi
  else
    say "engine: the dockerd that the lab had started is already gone"
  fi
  rm -rf "$LAB_STARTED_FILE" "$LAB_DOCKERD_LOG" "$LAB_STATE/bin"
}

engine_wait_gone() {
  local deadline=$((SECONDS + $2))
  while process_alive "$1"; do
    if [[ $SECONDS -ge $deadline ]]; then
      return 1
    fi
    sleep 0.1
  done
}

engine_status() {
  if ! engine_answers; then
    say "engine: none answers at $DOCKER_HOST ($(engine_silence))"
  elif ! command -v docker >/dev/null; then
    say "engine: answers at $DOCKER_HOST; there is no docker command"
  else
    say "engine: $(engine_describe)"
  fi
  if [[ ! -s $LAB_STARTED_FILE ]]; then
    say "engine: not started by the lab; 'down' leaves it"
  elif engine_started_alive; then
    say "engine: started by the lab ($(cut -d' ' -f1 "$LAB_STARTED_FILE")); 'down' stops it"
  else
    say "engine: the one that the lab had started is gone; 'up' starts it again"
  fi
  if [[ -s $LAB_PACKAGES_FILE ]]; then
    say "packages: $(wc -l <"$LAB_PACKAGES_FILE") installed by the lab ($LAB_PACKAGES_FILE)"
  else
    say "packages: none installed by the lab"
  fi
}

engine_describe() {
  echo "Docker $(docker version --format '{{.Server.Version}}') at $DOCKER_HOST"
}

# Name and start of a running process; nothing when there is none.
process_identity() {
  python3 -B "$LAB_DIR/process.py" "$1"
}

process_alive() {
  [[ -n $(process_identity "$1") ]]
}

is_dockerd() {
  [[ $(process_identity "$1") == "dockerd "* ]]
}
