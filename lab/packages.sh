# Debian packages: install what is missing, remember it, remove exactly that. Sourced by lab.sh.
# shellcheck shell=bash

LAB_PACKAGES_FILE=$LAB_STATE/packages

can_apt() {
  is_root && command -v apt-get >/dev/null && command -v dpkg-query >/dev/null
}

why_no_apt() {
  if ! is_root; then
    echo "this user is not root"
  else
    echo "this machine has no apt-get"
  fi
}

# dpkg-query and apt-cache fail for a package they have never heard of: that is an answer too.
package_installed() {
  [[ $(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null || true) == installed ]]
}

package_offered() {
  [[ -n $(apt-cache show --no-all-versions "$1" 2>/dev/null || true) ]]
}

installed_packages() {
  dpkg-query -W -f '${db:Status-Status} ${binary:Package}\n' | sed -n 's/^installed //p' | sort
}

packages_update() {
  state_folder
  say "packages: apt-get update"
  if ! apt-get update >"$LAB_STATE/apt.log" 2>&1; then
    tail -n 5 "$LAB_STATE/apt.log" >&2
    fail "apt-get update failed (log: $LAB_STATE/apt.log)" "make the package sources reachable, then run this again"
  fi
}

# packages_install NAME...: those that are missing, and a record of everything that came with them.
packages_install() {
  local name missing=()
  for name in "$@"; do
    package_installed "$name" || missing+=("$name")
  done
  [[ ${#missing[@]} -gt 0 ]] || return 0
  local before=$LAB_STATE/packages.before
  installed_packages >"$before"
  say "packages: apt-get install ${missing[*]}"
  local code=0
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" \
    >>"$LAB_STATE/apt.log" 2>&1 || code=$?
  # Also after a failure: what did get installed is still ours to take away.
  installed_packages | comm -13 "$before" - >>"$LAB_PACKAGES_FILE"
  sort -u -o "$LAB_PACKAGES_FILE" "$LAB_PACKAGES_FILE"
  rm -f "$before"
  if [[ $code -ne 0 ]]; then
    tail -n 10 "$LAB_STATE/apt.log" >&2
    fail "apt-get install ${missing[*]} failed with code $code (log: $LAB_STATE/apt.log)" \
      "see the lines above; once 'apt-get install ${missing[*]}' works by hand, run this again"
  fi
}

# Only the client out of its package: installing the package would bring a second engine along.
client_unpack() {
  local package=docker.io work
  packages_update
  if package_offered docker-cli; then
    package=docker-cli
  fi
  work=$LAB_STATE/client
  rm -rf "$work"
  mkdir -p "$work" "$LAB_STATE/bin"
  say "client: an engine answers but there is no docker command; unpacking it from Debian's $package into $LAB_STATE/bin"
  # apt's download user has no access to a folder of root's, hence the sandbox setting.
  if ! (cd "$work" && apt-get -o APT::Sandbox::User=root download "$package" >>"$LAB_STATE/apt.log" 2>&1 \
    && dpkg-deb -x ./*.deb unpacked); then
    tail -n 5 "$LAB_STATE/apt.log" >&2
    fail "could not unpack the docker command from the package $package" "install a Docker client, then run this again"
  fi
  install -m 755 "$work/unpacked/usr/bin/docker" "$LAB_STATE/bin/docker"
  rm -rf "$work"
}

client_required() {
  command -v docker >/dev/null || fail "there is no docker command on PATH" "run 'bash lab/lab.sh up' first, or install a Docker client"
}

packages_remove() {
  if [[ ! -s $LAB_PACKAGES_FILE ]]; then
    say "packages: the lab installed none, so none is removed"
    return 0
  fi
  can_apt || fail "packages can't be removed: $(why_no_apt)" "run as root: bash lab/lab.sh down --packages"
  local ours=() others name
  while read -r name; do
    if package_installed "$name"; then
      ours+=("$name")
    fi
  done <"$LAB_PACKAGES_FILE"
  if [[ ${#ours[@]} -gt 0 ]]; then
    others=$(apt-get -s remove "${ours[@]}" | awk '$1 == "Remv" {print $2}' | sort -u \
      | comm -23 - <(printf '%s\n' "${ours[@]%%:*}" | sort -u) | tr '\n' ' ')
    if [[ -n $others ]]; then
      fail "packages that the lab did not install need those that it did: $others" \
        "remove those first, or keep the lab's packages (they are listed in $LAB_PACKAGES_FILE)"
    fi
    say "packages: apt-get remove ${ours[*]}"
    if ! DEBIAN_FRONTEND=noninteractive apt-get remove -y "${ours[@]}" >"$LAB_STATE/apt.log" 2>&1; then
      tail -n 10 "$LAB_STATE/apt.log" >&2
      fail "apt-get remove failed (log: $LAB_STATE/apt.log)" "see the lines above"
    fi
  fi
  rm -f "$LAB_PACKAGES_FILE"
}

packages_mention() {
  if [[ -s $LAB_PACKAGES_FILE ]]; then
    say "packages: $(wc -l <"$LAB_PACKAGES_FILE") installed by the lab stay; 'bash lab/lab.sh down --packages' removes them"
  fi
}
