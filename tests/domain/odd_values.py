"""Values that can't be meant: where they stand, what they are, and what must be said of them.

Each was accepted once, or is a neighbour of one that was.
"""

from __future__ import annotations

from typing import Any

_AGE = "is out of range: 1h to 36500d (100 years)"
_PERIOD = "is out of range: 1m to 36500d (100 years)"
_INTERVAL = "is out of range: 100ms to 1d"
_WAIT = "is out of range: 0s to 1d"
_DEADLINE = "is out of range: 1s to 7d"
_STORAGE = "is out of range: 1MB to 1000000TB"
_MEMORY = "is out of range: 6M to 64T"
_FILES = "is out of range: 4K to 64T"
_SHARE = "is out of range: 0.001 to 1"
_COUNT = "is out of range: 0 to 10000"
_PORT = "is out of range: 1 to 65535"

NAN, INFINITE = float("nan"), float("inf")
_RULE = {"backup_before_cleanup": False}
_FILE = {**_RULE, "strategy": "files", "path": "/data"}


def _files(**changes: Any) -> list[dict[str, Any]]:
    return [{**_FILE, **changes}]


def _keys(**changes: Any) -> list[dict[str, Any]]:
    return [{**_RULE, "strategy": "keys", "pattern": "*", **changes}]


_PORTS_TWICE = [
    {"name": "sql", "container": 5432, "host": 5432},
    {"name": "other", "container": 5433, "host": 5432},
]
_MOUNTED_TWICE = [
    {"target": "/data", "volume": "rows"},
    {"target": "/data/", "tmpfs": "64M"},
]

ODD: dict[str, tuple[str, Any, str]] = {
    # place → (value, what is said of it); a place may end in `#n` to be given more than once.
    **{
        f"backup.tiers.local.retention#{number}": ("", value, f"{shown} {_AGE}")
        for number, (value, shown) in enumerate(
            (
                ("400000d", "'400000d'"),
                ("9999999d", "'9999999d'"),
                ("36500d1s", "'36500d1s'"),
                ("59m59s", "'59m59s'"),
                ("0s", "'0s'"),
                (0, "0"),
                (-604800, "-604800"),
                (NAN, "nan"),
                (INFINITE, "inf"),
                (-INFINITE, "-inf"),
                (1e300, "1e+300"),
                (10**60, "a number of more than 40 digits"),
                ("9" * 400 + "d", f"'{'9' * 56}…"),
            )
        )
    },
    "backup.tiers.local.retention#bool": ("", True, "expected a duration such as '30s'"),
    "backup.tiers.local.retention#text": ("", "for ever", "'for ever' is not a duration such as"),
    "backup.tiers.local.retention#minus": ("", "-7d", "'-7d' is not a duration such as"),
    "backup.tiers.local.retention#script": ("", "٧d", "is not a duration such as"),
    "backup.tiers.local.retention#line": ("", "7d\n", "is not a duration such as"),
    "backup.tiers.local.quota#0": ("", 0, f"0 {_STORAGE}"),
    "backup.tiers.local.quota#minus": ("", -1, f"-1 {_STORAGE}"),
    "backup.tiers.local.quota#huge": ("", "9000000TB", f"'9000000TB' {_STORAGE}"),
    "backup.tiers.local.quota#digits": ("", "9" * 400, f"… {_STORAGE}"),
    "backup.tiers.local.quota#nan": ("", NAN, "expected a size such as"),
    "backup.tiers.local.object_lock": ("", "400000d", f"'400000d' {_AGE}"),
    "backup.tiers.local.volume_size": ("", "1B", f"'1B' {_STORAGE}"),
    "backup.tiers.local.keep": ("last", -1, f"-1 {_COUNT}"),
    "backup.tiers.local.keep#yearly": ("yearly", 10**9, f"1000000000 {_COUNT}"),
    "backup.tiers.local.keep#bool": ("daily", True, "true is not a number"),
    "backup.compression_level": ("", 20, "20 is out of range: 1 to 19"),
    "backup.compression_threads": ("", -1, "-1 is out of range: 0 to 64"),
    "backup.rate_limit#0": ("", 0, "0 is out of range: 10KB to 1TB"),
    "backup.rate_limit#minus": ("", -5, "-5 is out of range: 10KB to 1TB"),
    "backup.max_age#0": ("", 0, f"0 {_PERIOD}"),
    "backup.max_age#huge": ("", "1000000w", f"'1000000w' {_PERIOD}"),
    "backup.models_max_age": ("", -1, f"-1 {_PERIOD}"),
    "backup.proven_within": ("", NAN, f"nan {_PERIOD}"),
    "backup.drills#0": ("", 0, "0 is out of range: 1 to 1000"),
    "backup.drills#huge": ("", 10**12, "1000000000000 is out of range: 1 to 1000"),
    "backup.verify_share#0": ("", 0, f"0 {_SHARE}"),
    "backup.verify_share#nan": ("", NAN, f"nan {_SHARE}"),
    "backup.verify_share#percent": ("", 10, f"10 {_SHARE}"),
    "backup.copy_retry#0": ("", 0, "0 is out of range: 1m to 30d"),
    "backup.copy_retry#year": ("", "1000d", "'1000d' is out of range: 1m to 30d"),
    "backup.bucket_growth": ("", 0, "0 is out of range: 1KB to 1000000TB"),
    "backup.max_share_deleted#above": ("", 1.5, f"1.5 {_SHARE}"),
    "backup.max_share_deleted#minus": ("", -0.5, f"-0.5 {_SHARE}"),
    "backup.quota_warning": ("", INFINITE, f"inf {_SHARE}"),
    "backup.models_cron": ("", "0 0 30 2 *", "never fires: no month it names has such a day"),
    "backup.drill_cron": ("", "0 0 31 4,6 *", "never fires: no month it names has such a day"),
    "backup.sweep_cron": ("", "0 3-3 * * *", "hour '3-3' is a range of one: write 3"),
    "retention.max_share_deleted": ("", 2, f"2 {_SHARE}"),
    "retention.runs#minutes": ("", "10m", f"'10m' {_AGE}"),
    "retention.runs#minus": ("", -86400, f"-86400 {_AGE}"),
    "retention.run_containers": ("", 0, f"0 {_AGE}"),
    "security.max_age": ("", "1h", "'1h' is out of range: 1d to 36500d (100 years)"),
    "security.secrets.password.bytes": ("", 8, "8 is out of range: 16 to 128"),
    "environments.development.retention.default#minus": ("", -604800, f"-604800 {_AGE}"),
    "environments.development.retention.default#huge": ("", "400000d", f"'400000d' {_AGE}"),
    "environments.development.retention.services": ("cache", "5s", f"'5s' {_AGE}"),
    "environments.development.retention.cron": (
        "",
        "0 0 30 2 *",
        "'0 0 30 2 *' never fires: no month it names has such a day",
    ),
    "environments.development.backup.cron": (
        "",
        "0 2 30-31 feb *",
        "'0 2 30-31 feb *' never fires: no month it names has such a day",
    ),
    "environments.development.overrides": (
        "site.replicas",
        101,
        "101 is out of range: 0 to 100",
    ),
    "environments.development.overrides#within": (
        "site.healthy_within",
        -1,
        f"-1 {_DEADLINE}",
    ),
    "services.database.retention": ("[0].age", _files(age="400000d"), f"'400000d' {_AGE}"),
    "services.database.retention#minus": ("[0].age", _files(age=-604800), f"-604800 {_AGE}"),
    "services.database.retention#share": (
        "[0].max_share_deleted",
        _files(max_share_deleted=NAN),
        f"nan {_SHARE}",
    ),
    "services.database.retention#rotate": (
        "[0].rotate_above",
        _files(rotate_above=0),
        "0 is out of range: 1K to 1000000TB",
    ),
    "services.cache.retention": (
        "[0].database",
        _keys(database=-1),
        "-1 is out of range: 0 to 65535",
    ),
    "services.database.ports": ("[1].host", _PORTS_TWICE, "is already taken by this service's"),
    "services.database.ports#0": (
        "[0].container",
        [{"name": "sql", "container": 0}],
        f"0 {_PORT}",
    ),
    "services.database.ports#high": (
        "[0].host",
        [{"name": "sql", "container": 5432, "host": "65536"}],
        f"65536 {_PORT}",
    ),
    "services.database.ports#wide": (
        "[0].host",
        [{"name": "sql", "container": 5432, "host": "1024-65535"}],
        "1024-65535 are 64512 ports; a service has at most 100 replicas",
    ),
    "services.database.ports#bind": (
        "[0].bind",
        [{"name": "sql", "container": 5432, "host": 5432, "bind": "127.0.0.1:5432"}],
        "'127.0.0.1:5432' is not an IP address such as 127.0.0.1 or ::1; a port has a key of its"
        " own",
    ),
    "services.database.ports#name": (
        "[1].name",
        [{"name": "sql", "container": 5432}, {"name": "sql", "container": 5433}],
        "a second port is called 'sql'",
    ),
    "config.bind_address#port": ("", "0.0.0.0:80", "'0.0.0.0:80' is not an IP address such as"),
    "config.bind_address#name": ("", "localhost", "'localhost' is not an IP address such as"),
    "config.bind_address#multicast": ("", "224.0.0.1", "is a multicast address"),
    "config.pull_deadline": ("", 0, f"0 {_DEADLINE}"),
    "config.stop_deadline": ("", "30d", f"'30d' {_DEADLINE}"),
    "config.address_plans.main.port_offset#minus": ("", -1, "-1 is out of range: 0 to 50000"),
    "config.address_plans.main.subnets.web#32": (
        "",
        "10.2.0.1/32",
        "10.2.0.1/32 is out of range: a network has /8 to /29",
    ),
    "config.address_plans.main.subnets.web#31": ("", "10.2.0.0/31", "a network has /8 to /29"),
    "config.address_plans.main.subnets.web#none": ("", "10.2.0.0", "a network has /8 to /29"),
    "config.address_plans.main.subnets.web#all": ("", "0.0.0.0/0", "a network has /8 to /29"),
    "config.address_plans.main.subnets.web#loopback": ("", "127.0.0.0/24", "is loopback"),
    "config.address_plans.main.subnets.web#multicast": ("", "224.1.0.0/24", "is multicast"),
    "config.address_plans.main.subnets.web#local": ("", "169.254.7.0/24", "is link-local"),
    "services.database.mounts": (
        "[1].target",
        _MOUNTED_TWICE,
        "/data is mounted twice in this service",
    ),
    "services.database.mounts#root": (
        "[0].target",
        [{"target": "/", "volume": "rows"}],
        "'/' is not an absolute path below / without '..'",
    ),
    "services.database.mounts#up": (
        "[0].target",
        [{"target": "/data/../etc", "volume": "rows"}],
        "'/data/../etc' is not an absolute path below / without '..'",
    ),
    "services.database.mounts#tmpfs": (
        "[0].tmpfs",
        [{"target": "/t", "tmpfs": 0}],
        f"0 {_FILES}",
    ),
    "services.database.tmpfs": ("[0]", ["/data:size=1M"], "/data is mounted twice"),
    "services.database.secrets": (
        "[1].secret",
        [{"secret": "password"}, {"secret": "password"}],
        "/run/secrets/password is mounted twice",
    ),
    "services.database.secrets#uid": (
        "[0].uid",
        [{"secret": "password", "uid": 2**32}],
        "4294967296 is out of range: 0 to 4294967294",
    ),
    "services.site.replicas#minus": ("", -1, "-1 is out of range: 0 to 100"),
    "services.site.replicas#bool": ("", True, "true is not a number"),
    "services.site.healthy_within#0": ("", 0, f"0 {_DEADLINE}"),
    "services.site.healthy_within#nan": ("", NAN, f"nan {_DEADLINE}"),
    "services.site.stop_grace_period": ("", "400000d", f"'400000d' {_WAIT}"),
    "services.site.shm_size#0": ("", 0, f"0 {_FILES}"),
    "services.site.shm_size#minus": ("", -1, f"-1 {_FILES}"),
    "services.site.ulimits": ("nofile", -2, "-2 is out of range: -1 to 9223372036854775807"),
    "services.site.resources": ("pids", 0, "0 is out of range: 1 to 4194304"),
    "services.site.resources#cpus": ("limits.cpus", NAN, "nan is out of range: 0.01 to 1024"),
    "services.site.resources#cores": ("limits.cpus", -1, "-1 is out of range: 0.01 to 1024"),
    "services.site.resources#memory": ("limits.memory", "1K", f"'1K' {_MEMORY}"),
    "services.site.resources#reserved": ("reservations.memory", -5, f"-5 {_MEMORY}"),
    "services.site.gpu": ("count", -1, "-1 is out of range: 1 to 128, or Input should be 'all'"),
    "services.site.backup": ("max_age", "1ms", f"'1ms' {_PERIOD}"),
    "services.site.backup#retention": ("retention", "1ms", f"'1ms' {_AGE}"),
    "services.site.backup#keep": ("keep.weekly", 10**6, f"1000000 {_COUNT}"),
    "services.site.healthcheck": ("interval", 0, f"0 {_INTERVAL}"),
    "services.site.healthcheck#timeout": ("timeout", -1, f"-1 {_INTERVAL}"),
    "services.site.healthcheck#retries": ("retries", 0, "0 is out of range: 1 to 1000"),
    "services.site.healthcheck#start": ("start_period", INFINITE, f"inf {_WAIT}"),
    "services.site.healthcheck#often": ("start_interval", "1ms", f"'1ms' {_INTERVAL}"),
}
