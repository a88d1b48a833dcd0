"""Replace the files that a Redis server starts from, with one rename.

One file decides what is loaded: the manifest of the AOF (Redis 7), the AOF itself (before Redis
7), or the RDB if ``appendonly`` is off. New files are staged next to it in a folder of the volume.
The swap keeps the old file in that folder (as a link, which takes no space), and then renames. So
at any moment, even after a kill, the server starts from all of the old data or all of the new:

- ``ready`` doesn't exist: staging was interrupted. The old data is in place.
- ``decides`` exists: the swap was interrupted before its rename. The old data is in place.
- Neither ``old`` nor ``none`` exists: the old data was put back.
- Otherwise the new data is in place, and ``old`` is the previous file (``none``: there was none).

An RDB is also the first part (base) of an AOF: no server is needed to convert it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from mmstack_ops.adapters.stores.redis.server import Files

_FOLDER = ".mmstack-restore"
# The most that a server interrupted in the middle of a write leaves at the end of the file. Redis
# cuts it off when it loads the file (aof-load-truncated).
_TORN_BYTES = 64 << 10
_ANALYZED = re.compile(r"AOF analyzed: filename=.*diff=(\d+)")
_NO_COMMAND = "Expected prefix"
"""A command doesn't begin as it must: this is damage, not a torn end."""

_NAMES = r"""
set -eu
stage="$DIR/$STAGE"
folder="$DIR/$APPEND_FOLDER"
if [ "$TARGET" = no ]; then decides="$DIR/$SNAPSHOT"
elif [ -n "$APPEND_FOLDER" ]; then decides="$folder/$APPEND_NAME.manifest"
else decides="$DIR/$APPEND_NAME"; fi
# A server that ran since may have used such a name for a part of its own.
live() {
  [ -e "$folder/$APPEND_NAME.manifest" ] &&
    awk '$1 == "file" { print $2 }' "$folder/$APPEND_NAME.manifest" | grep -qxF -e "$1"
}
remove_listed() {
  while read -r name; do
    if ! live "$name"; then rm -f "$folder/$name"; fi
  done <"$1"
}
"""
_DISCARD = r"""
if [ -e "$stage/parts" ]; then remove_listed "$stage/parts"; fi
rm -rf "$stage"
"""
_KEEP_NEW = r"""
if [ -e "$stage/old-parts" ]; then remove_listed "$stage/old-parts"; fi
rm -rf "$stage"
sync
"""
_KEEP_OLD = (
    r"""
# Not yet renamed: the old one is in place.
if [ -e "$stage/ready" ] && [ ! -e "$stage/decides" ]; then
  if [ -e "$stage/old" ]; then mv -f "$stage/old" "$decides"
  elif [ -e "$stage/none" ]; then rm -f "$decides" "$stage/none"; fi
fi
for file in "$stage/stale"/*; do
  if [ -e "$file" ]; then mv -f "$file" "$DIR/"; fi
done
sync
"""
    + _DISCARD
    + "sync\n"
)
SETTLE = (
    _NAMES
    + 'if [ ! -e "$stage" ]; then exit 0; fi\n'
    + 'if [ -e "$stage/ready" ] && [ ! -e "$stage/decides" ] && {\n'
    + '  [ -e "$stage/old" ] || [ -e "$stage/none" ]; }; then\n'
    + _KEEP_NEW
    + "else\n"
    + _KEEP_OLD
    + "fi\n"
)
"""Finishes or undoes a killed restore."""
FINISH = _NAMES + _KEEP_NEW
"""Deletes the old files once a server runs with the new ones."""
STAGE = (
    _NAMES
    # In a subshell: it exits if there is nothing to do.
    + f"(\n{SETTLE}\n)\n"
    + r"""
trap 'test -e "$stage/ready" || rm -rf "$stage"' EXIT
mkdir "$stage"
cd "$stage"
mkdir new
# An AOF is judged by what it says; see is_broken.
check_aof() {
  redis-check-aof "$1" >said 2>&1 || true
  cat said >&2
  # A write that was cut off in the middle is cut away, as Redis does when it loads it.
  if grep -q 'not valid' said; then yes | redis-check-aof --fix "$1" >/dev/null 2>&1 || true; fi
}
check_rdb() {
  redis-check-rdb "$1" >said 2>&1 || { tail -n 5 said >&2; exit 1; }
  grep -q 'RDB looks OK' said || { tail -n 5 said >&2; exit 1; }
}
if [ "$SOURCE" = rdb ]; then
  cat "$IN" >new/rdb
  check_rdb new/rdb
  printf 'rdb 1 b rdb\n' >list
else
  (cd new && tar -xf - <"$IN")
  listed="$(find new -name '*.manifest')"
  if [ -n "$listed" ]; then
    check_aof "$listed"
    # name, number, type, ending
    awk '$1 == "file" && ($6 == "b" || $6 == "i") {
      n = split($2, part, "."); print $2, $4, $6, part[n] }' "$listed" >list
    mv "$(dirname "$listed")"/* new/ 2>/dev/null || true
  else
    file="$(find new -type f)"
    check_aof "$file"
    mv "$file" new/aof
    printf 'aof 1 b aof\n' >list
  fi
fi
if [ "$SOURCE" = aof ] && { [ "$TARGET" = no ] || [ -z "$APPEND_FOLDER" ]; }; then
  # A single file can only be made by a server.
  cli() { redis-cli -s /tmp/redis.sock "$@"; }
  mkdir load
  if [ -n "$listed" ]; then mkdir load/a; mv new/* load/a/; else mv new/aof load/"$APPEND_NAME"; fi
  name="$APPEND_NAME"
  if [ -n "$listed" ]; then name="$(basename "$listed" .manifest)"; fi
  redis-server --dir "$stage/load" --dbfilename rdb --appendonly yes --appendfilename "$name" \
    ${listed:+--appenddirname a} --databases "$DATABASES" --aof-load-truncated yes --save '' \
    --port 0 --unixsocket /tmp/redis.sock >/tmp/log 2>&1 &
  server=$!
  until cli ping 2>/dev/null | grep -q PONG; do
    kill -0 "$server" 2>/dev/null || { tail -n 5 /tmp/log >&2; exit 1; }
    sleep 0.1
  done
  cli save | grep -q OK || { tail -n 5 /tmp/log >&2; exit 1; }
  cli shutdown nosave >/dev/null 2>&1 || true
  wait "$server" || true
  mv load/rdb new/rdb
  rm -rf load
  printf 'rdb 1 b rdb\n' >list
fi
rm -f said
chown -R "$(stat -c %u:%g "$DIR")" "$stage"
sync
: >ready
sync
"""
)
"""Writes new files next to the old ones and checks them; the service keeps running."""
SWAP = (
    _NAMES
    + r"""
cd "$stage"
test -e ready
owner="$(stat -c %u:%g "$DIR")"
if [ "$TARGET" = yes ] && [ -n "$APPEND_FOLDER" ]; then
  mkdir -p "$folder"
  chown "$owner" "$folder"
  last=0
  : >old-parts.new
  if [ -e "$decides" ]; then
    last="$(awk '$1 == "file" && $4 > n { n = $4 } END { print n + 0 }' "$decides")"
    awk '$1 == "file" { print $2 }' "$decides" >old-parts.new
  fi
  # New numbers, so that no name is used twice.
  awk -v name="$APPEND_NAME" -v last="$last" '{
    kind = $3 == "b" ? "base" : "incr"
    print $1, name "." ($2 + last) "." kind "." $4, $2 + last, $3 }' list >moves
  # Without such a part the server begins one of its own, with a number that was used.
  if ! grep -q ' i$' moves; then
    : >new/empty
    chown "$owner" new/empty
    chmod 600 new/empty
    number="$((last + 1))"
    printf 'empty %s.%s.incr.aof %s i\n' "$APPEND_NAME" "$number" "$number" >>moves
  fi
  awk '{ print $2 }' moves >parts
  awk '{ print "file", $2, "seq", $3, "type", $4 }' moves >decides
  sync
  while read -r from to _; do mv "new/$from" "$folder/$to"; done <moves
  mv old-parts.new old-parts
else
  mv "new/rdb" decides
fi
chown "$owner" decides
chmod 600 decides
if [ -e "$decides" ]; then ln "$decides" old; else : >none; fi
sync
mv -f decides "$decides"
sync
# A file of the other kind is what the server would start from were appendonly changed.
mkdir stale
if [ "$TARGET" = no ]; then
  for name in "$APPEND_NAME" ${APPEND_FOLDER:+"$APPEND_FOLDER"}; do
    if [ -e "$DIR/$name" ]; then mv "$DIR/$name" stale/; fi
  done
elif [ -e "$DIR/$SNAPSHOT" ]; then mv "$DIR/$SNAPSHOT" stale/; fi
sync
"""
)
"""Replaces the current files with the staged ones; the service is stopped."""
PUT_BACK = (
    _NAMES
    + r"""
if [ ! -e "$stage" ]; then exit 0; fi
"""
    + _KEEP_OLD
)
"""Puts the old files back; the service is stopped."""


def variables(files: Files, source: str) -> Mapping[str, str]:
    """Return the environment of the scripts.

    Args:
        source: ``rdb`` or ``aof``, for ``STAGE``.
    """
    return {
        "DIR": files.directory,
        "STAGE": _FOLDER,
        "SOURCE": source,
        "TARGET": "yes" if files.append_only else "no",
        "SNAPSHOT": files.snapshot,
        "APPEND_NAME": files.append_name,
        "APPEND_FOLDER": files.append_folder,
        "DATABASES": str(files.databases),
    }


def is_broken(text: str) -> bool:
    """Return whether the output of redis-check-aof reports damage.

    A short torn end of the last part isn't damage.
    """
    if "is valid" not in text and "AOF analyzed" not in text:
        return True
    bad = [int(found) for found in _ANALYZED.findall(text) if int(found)]
    if "not valid" not in text and "ERROR" not in text:
        return bool(bad)
    if _NO_COMMAND in text:
        return True
    # The check stops at the first incomplete part, which must be the last one.
    analyzed = _ANALYZED.findall(text)
    return not (len(bad) == 1 and int(analyzed[-1]) == bad[0] and bad[0] <= _TORN_BYTES)
