# Gives development a second backup tier, as an operator would: a folder that is a mount point of its
# own (a bind mount in place of NFS), and the variable that names it. Sourced by lab.sh.

# The data stands with the rest of the lab's; the mount point doesn't, so that the project's folder
# can be removed like any other.
TIERS_DATA=$LAB_STATE/remote
TIERS_REMOTE=/run/mmstack-lab/$(printf '%s' "$LAB_STATE" | sha256sum | cut -c1-12)
TIERS_LOCAL_ENV=$(dirname "$LAB_STATE")/development/local.env
TIERS_LINE="BACKUP_REMOTE_PATH='$TIERS_REMOTE'"

tiers_up() {
  if [[ -e $TIERS_LOCAL_ENV ]] && grep -q '^BACKUP_REMOTE_PATH=' "$TIERS_LOCAL_ENV" &&
    ! grep -qxF "$TIERS_LINE" "$TIERS_LOCAL_ENV"; then
    say "tiers: development's remote tier is your own (.mmstack/development/local.env)"
    return
  fi
  mkdir -p -m 700 "$TIERS_DATA"
  # Of a project that was removed and cloned again: what is mounted there is a deleted folder.
  if mountpoint -q "$TIERS_REMOTE" 2>/dev/null && [[ ! $TIERS_REMOTE -ef $TIERS_DATA ]] && is_root; then
    umount "$TIERS_REMOTE"
    say "tiers: unmounted $TIERS_REMOTE, whose data was removed"
  fi
  if ! mountpoint -q "$TIERS_REMOTE" 2>/dev/null; then
    if ! is_root || ! mkdir -p -m 700 "$TIERS_REMOTE" 2>>"$LAB_STATE/mount.log" ||
      ! mount --bind "$TIERS_DATA" "$TIERS_REMOTE" 2>>"$LAB_STATE/mount.log"; then
      say "tiers: no remote tier: $TIERS_REMOTE can't be made a mount point here (log: $LAB_STATE/mount.log)"
      return
    fi
    say "tiers: development's remote tier is mounted at $TIERS_REMOTE (its data: .mmstack/lab/remote)"
  fi
  if [[ ! -e $TIERS_LOCAL_ENV ]] || ! grep -qxF "$TIERS_LINE" "$TIERS_LOCAL_ENV"; then
    mkdir -p -m 700 "$(dirname "$TIERS_LOCAL_ENV")"
    (umask 077 && printf '%s\n' "$TIERS_LINE" >>"$TIERS_LOCAL_ENV")
  fi
}

# Backups are data: the folder stays when it holds any.
tiers_down() {
  if is_root && mountpoint -q "$TIERS_REMOTE" 2>/dev/null; then
    umount "$TIERS_REMOTE"
    rmdir "$TIERS_REMOTE"
    say "tiers: unmounted $TIERS_REMOTE"
  fi
  if [[ -d $TIERS_DATA ]]; then
    rmdir "$TIERS_DATA" 2>/dev/null || say "tiers: backups stay in .mmstack/lab/remote"
  fi
  if [[ -e $TIERS_LOCAL_ENV ]]; then
    local rest
    rest=$(grep -vxF "$TIERS_LINE" "$TIERS_LOCAL_ENV" || true)
    if [[ -z $rest ]]; then
      rm "$TIERS_LOCAL_ENV"
    else
      (umask 077 && printf '%s\n' "$rest" >"$TIERS_LOCAL_ENV")
    fi
  fi
  rm -f "$LAB_STATE/mount.log"
}
