"""An independent judge of a Redis server: every value, as ``redis-cli`` shows it.

It shares nothing with the product: redis-cli in the server's own container.
"""

from __future__ import annotations

import shlex

from tests.integration.backups.lab import REDIS_PASSWORD
from tests.integration.world import World

_READ = {
    "string": "GET {0}",
    "list": "LRANGE {0} 0 -1",
    "set": "SORT {0} ALPHA",
    "zset": "ZRANGE {0} 0 -1 WITHSCORES",
    "hash": "HGETALL {0}",
    "stream": "XRANGE {0} - +",
}


def dump(world: World, service: str, *, databases: int = 16) -> dict[str, str]:
    """Return everything a server holds; keys must be of plain letters."""
    found = {
        "functions": _cli(world, service, 0, ["FUNCTION LIST WITHCODE"]),
        # A rule that holds for all but is shown only of users that were reset once.
        "users": _cli(world, service, 0, ["ACL LIST"]).replace("sanitize-payload ", ""),
    }
    for number in range(databases):
        keys = sorted(_cli(world, service, number, ["KEYS *"]).split())
        for key in keys:
            kind = _cli(world, service, number, [f"TYPE {key}"]).strip()
            asked = [_READ[kind].format(key), f"PEXPIRETIME {key}"]
            if kind == "stream":
                asked.append(f"XINFO STREAM {key} FULL COUNT 0")
            shown = _cli(world, service, number, asked)
            # Fields of a hash stand in any order; so do the rest's lines, but they stay.
            found[f"{number} {key}"] = (
                kind
                + "\n"
                + ("\n".join(sorted(shown.splitlines())) if kind == "hash" else _lasting(shown))
            )
    return found


def _lasting(shown: str) -> str:
    """Leave out what Redis itself doesn't keep of a stream.

    That is how it stands in memory, when a consumer was last seen, and, where the AOF holds
    commands, how many entries a group has read.
    """
    lines = shown.splitlines()
    passing = {
        *("radix-tree-keys", "radix-tree-nodes", "seen-time", "active-time"),
        *("entries-read", "lag"),
    }
    kept: list[str] = []
    skip = False
    for line in lines:
        if skip:
            skip = False
        elif line in passing:
            skip = True
        else:
            kept.append(line)
    return "\n".join(kept)


def _cli(world: World, service: str, database: int, commands: list[str]) -> str:
    script = "\n".join(commands)
    line = f"printf '%s\\n' {shlex.quote(script)} | redis-cli -n {database}"
    environment = {"REDISCLI_AUTH": REDIS_PASSWORD}
    done = world.live(service).exec_run(["sh", "-c", line], environment=environment)
    assert done.exit_code == 0, done.output
    return str(done.output.decode("utf-8", "replace"))
