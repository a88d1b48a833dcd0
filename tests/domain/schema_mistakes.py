"""A small valid schema, and small mistakes in it with what must be said of each.

In each case `#!` marks the line that the message must name.
"""

from __future__ import annotations

VALID = """\
config:
  schema_version: 1
  project: shop
  timezone: Europe/Berlin
  address_plan: main
  address_plans:
    main:
      subnets:
        data: 10.1.0.0/24
        web: 10.2.0.0/24
networks:
  data: {name: data-net}
  web: {name: web-net}
volumes:
  rows: {}
stacks:
  base:
    network: data
    services: [database, cache]
  front:
    network: web
    depends_on: [base]
    services: [site]
services:
  database:
    description: Rows.
    image: {variable: DATABASE_IMAGE, default: 'postgres:16-alpine'}
    ports:
      - {name: sql, container: 5432, host: 5432}
    mounts:
      - {target: /data, volume: rows}
    secrets:
      - {secret: password}
  cache:
    description: Cache.
    image: {variable: CACHE_IMAGE, default: 'redis:7-alpine'}
    ports:
      - {name: cache, container: 6379, host: 6379}
  site:
    description: Pages.
    image: {variable: SITE_IMAGE, default: 'registry:5000/site@sha256:0123'}
    environment:
      DATABASE_URL: ${DATABASE_URL}
    depends_on:
      - {service: database}
environments:
  development:
    alias: dev
    stacks: [base, front]
    schedules_running: false
    credential_rules: lenient
    backup: {cron: '0 2 * * *', tiers: [local]}
    retention: {cron: '0 1 * * *', default: 7d}
backup:
  tiers:
    local: {kind: directory, retention: 7d}
    remote: {kind: mount, retention: 30d, after: local}
retention: {}
security:
  secrets:
    password: {description: Superuser.}
"""

SITE = "  site:\n    description: Pages.\n"
DATABASE = "  database:\n    description: Rows.\n"
DEVELOPMENT = "    stacks: [base, front]\n"

CASES = {
    "unknown key": (
        SITE,
        SITE + "    replicaz: 2 #!\n",
        "services.site.replicaz: unknown key 'replicaz'; did you mean 'replicas'?",
    ),
    "reference that isn't closed": (
        "      DATABASE_URL: ${DATABASE_URL}\n",
        "      DATABASE_URL: '${A:-${B}' #!\n",
        "services.site.environment.DATABASE_URL: '${A:-' isn't closed by a '}';"
        " '$$' is a dollar sign",
    ),
    "bind that is no address": (
        "container: 5432, host: 5432}",
        "container: 5432, host: 5432, bind: localhost} #!",
        "services.database.ports[0].bind: 'localhost' is not an IP address such as 127.0.0.1"
        " or ::1; a port has a key of its own",
    ),
    "bind with a port": (
        "container: 5432, host: 5432}",
        "container: 5432, host: 5432, bind: '[::1]:80'} #!",
        "services.database.ports[0].bind: '[::1]:80' is not an IP address such as 127.0.0.1"
        " or ::1; a port has a key of its own",
    ),
    "variable of a container with white space": (
        "      DATABASE_URL: ${DATABASE_URL}\n",
        "      a b: x #!\n",
        "services.site.environment.a b: 'a b' does not match ^[^=\\s\\x00-\\x1f\\x7f-\\x9f]+$",
    ),
    "value with a NUL": (
        "      DATABASE_URL: ${DATABASE_URL}\n",
        '      discovery.type: "a\\0" #!\n',
        "services.site.environment.discovery.type: it holds a NUL, which no container can be given",
    ),
    "hidden line break": (
        "      DATABASE_URL: ${DATABASE_URL}\n",
        "      DATABASE_URL: 'a\x85b' #!\n",
        'U+0085 is a line break to YAML: write "\\N" in double quotes',
    ),
    "unknown key in a list": (
        "container: 5432, host: 5432}",
        "container: 5432, hostt: 5432} #!",
        "services.database.ports[0].hostt: unknown key 'hostt'; did you mean 'host'?",
    ),
    "unknown key at the top": (
        "retention: {}",
        "retentions: {} #!",
        "retentions: unknown key 'retentions'; did you mean 'retention'?",
    ),
    "missing key": (
        "    network: web\n    depends_on",
        "    depends_on",
        "stacks.front.network: the key 'network' is missing",
    ),
    "unknown service": (
        "{service: database}",
        "{service: databse} #!",
        "services.site.depends_on[0].service: unknown service 'databse'; did you mean 'database'?",
    ),
    "unknown service in a stack": (
        "services: [site]",
        "services: [site, sight] #!",
        "stacks.front.services[1]: unknown service 'sight'; did you mean 'site'?",
    ),
    "unknown service in overrides": (
        DEVELOPMENT,
        DEVELOPMENT + "    overrides:\n      sitee: {replicas: 2} #!\n",
        "environments.development.overrides.sitee: unknown service 'sitee'; did you mean 'site'?",
    ),
    "unknown service in retention": (
        "default: 7d}",
        "default: 7d, services: {cachee: 1d}} #!",
        "environments.development.retention.services.cachee: unknown service 'cachee'"
        "; did you mean 'cache'?",
    ),
    "unknown stack": (
        "stacks: [base, front]",
        "stacks: [base, frnt] #!",
        "environments.development.stacks[1]: unknown stack 'frnt'; did you mean 'front'?",
    ),
    "unknown stack in depends_on": (
        "depends_on: [base]",
        "depends_on: [bas] #!",
        "stacks.front.depends_on[0]: unknown stack 'bas'; did you mean 'base'?",
    ),
    "unknown network": (
        "    network: web",
        "    network: webb #!",
        "stacks.front.network: unknown network 'webb'; did you mean 'web'?",
    ),
    "unknown network in an address plan": (
        "        web: 10.2.0.0/24",
        "        web: 10.2.0.0/24\n        wep: 10.3.0.0/24 #!",
        "config.address_plans.main.subnets.wep: unknown network 'wep'; did you mean 'web'?",
    ),
    "network without a subnet": (
        "        data: 10.1.0.0/24\n        web: 10.2.0.0/24\n",
        "        data: 10.1.0.0/24\n",
        "config.address_plans.main.subnets: no subnet for network 'web'",
    ),
    "undeclared volume": (
        "volume: rows}",
        "volume: rowz} #!",
        "services.database.mounts[0].volume: unknown volume 'rowz'; did you mean 'rows'?",
    ),
    "unknown secret": (
        "{secret: password}",
        "{secret: pasword} #!",
        "services.database.secrets[0].secret: unknown secret 'pasword'; did you mean 'password'?",
    ),
    "unknown tier": (
        "tiers: [local]}",
        "tiers: [locl]} #!",
        "environments.development.backup.tiers[0]: unknown tier 'locl'; did you mean 'local'?",
    ),
    "unknown tier to copy from": (
        "after: local}",
        "after: loca} #!",
        "backup.tiers.remote.after: unknown tier 'loca'; did you mean 'local'?",
    ),
    "unknown address plan": (
        DEVELOPMENT,
        DEVELOPMENT + "    address_plan: mian #!\n",
        "environments.development.address_plan: unknown address plan 'mian'; did you mean 'main'?",
    ),
    "unknown default address plan": (
        "address_plan: main",
        "address_plan: mian #!",
        "config.address_plan: unknown address plan 'mian'; did you mean 'main'?",
    ),
    "cycle of stacks": (
        "    network: data\n    services",
        "    network: data\n    depends_on: [front] #!\n    services",
        "stacks.base.depends_on: stacks in a cycle: base → front → base",
    ),
    "cycle of tiers": (
        "local: {kind: directory, retention: 7d}",
        "local: {kind: directory, retention: 7d, after: remote} #!",
        "backup.tiers.local.after: tiers in a cycle: local → remote → local",
    ),
    "undeclared dependency of a stack": (
        "    depends_on: [base]\n    services: [site]",
        "    services: [site]",
        "services.site.depends_on[0]: 'database' is in stack 'base', which stack 'front' doesn't"
        " depend on: add 'base' to stacks.front.depends_on",
    ),
    "service in two stacks": (
        "services: [site]",
        "services: [site, cache] #!",
        "stacks.front.services[1]: service 'cache' already belongs to stack 'base'",
    ),
    "service in no stack": (
        "[database, cache]",
        "[database]",
        "services.cache: service 'cache' belongs to no stack",
    ),
    "network of two stacks": (
        "    network: web",
        "    network: data #!",
        "stacks.front.network: network 'data' already belongs to stack 'base'",
    ),
    "network name given twice": (
        "{name: web-net}",
        "{name: data-net} #!",
        "networks.web.name: network name 'data-net' is already taken by 'data'",
    ),
    "overlapping subnets": (
        "web: 10.2.0.0/24",
        "web: 10.1.0.128/25 #!",
        "config.address_plans.main.subnets.web: 10.1.0.128/25 overlaps 10.1.0.0/24"
        " of network 'data'",
    ),
    "not a subnet": (
        "web: 10.2.0.0/24",
        "web: 10.2.0.1/24 #!",
        "config.address_plans.main.subnets.web: '10.2.0.1/24' is not an IPv4 subnet:"
        " 10.2.0.1/24 has host bits set",
    ),
    "ports that run backwards": (
        "host: 6379}",
        "host: 6380-6379} #!",
        "services.cache.ports[0].host: the range 6380-6379 runs backwards",
    ),
    "not a port": (
        "host: 6379}",
        "host: 66666} #!",
        "services.cache.ports[0].host: 66666 is out of range: 1 to 65535",
    ),
    "replicas beyond the ports": (
        "  cache:\n    description: Cache.\n",
        "  cache:\n    description: Cache.\n    replicas: 3\n",
        "services.cache.ports[0].host: 3 replicas in development need as many host ports;"
        " give a range such as 6379-6381",
    ),
    "replicas of a fixed name": (
        SITE,
        "  site: #!\n    description: Pages.\n    container_name: site\n    replicas: 2\n",
        "services.site: a service with 'container_name' can't have more than one replica",
    ),
    "container name clash": (
        SITE,
        SITE + "    container_name: shop-development-base-cache-1 #!\n",
        "services.site.container_name: container name 'shop-development-base-cache-1'"
        " is already taken by 'cache'",
    ),
    "bad cron": (
        "'0 2 * * *', tiers: [local]}",
        "'0 25 * * *', tiers: [local]} #!",
        "environments.development.backup.cron: '0 25 * * *': hour '25' is outside 0-23",
    ),
    "bad time zone": (
        "timezone: Europe/Berlin",
        "timezone: Europe/Berlim #!",
        "config.timezone: unknown time zone 'Europe/Berlim'; did you mean 'Europe/Berlin'?",
    ),
    "literal secret in the environment": (
        "      DATABASE_URL: ${DATABASE_URL}",
        "      API_TOKEN: hunter22 #!",
        "services.site.environment.API_TOKEN: a secret is written as a literal: declare it under"
        " security.secrets and refer to it as ${NAME} or by 'secrets'",
    ),
    "literal secret in a URL": (
        "      DATABASE_URL: ${DATABASE_URL}",
        "      DATABASE_URL: postgresql://me:hunter22@database/x #!",
        "services.site.environment.DATABASE_URL: the URL holds a password as a literal: declare it"
        " under security.secrets and refer to it as ${NAME} or by 'secrets'",
    ),
    "literal secret in a command": (
        SITE,
        SITE + "    command: [--key, sk-hunter22hunter22hunter22] #!\n",
        "services.site.command[1]: a key of a known issuer is written as a literal: declare it"
        " under security.secrets and refer to it as ${NAME} or by 'secrets'",
    ),
    "literal secret in a health check": (
        SITE,
        SITE + "    healthcheck: {test: [CMD, curl, 'http://me:hunter22@localhost/']} #!\n",
        "services.site.healthcheck.test[2]: the URL holds a password as a literal: declare it"
        " under security.secrets and refer to it as ${NAME} or by 'secrets'",
    ),
    "literal secret of an environment": (
        DEVELOPMENT,
        DEVELOPMENT + "    variables: {HF_TOKEN: hunter22} #!\n",
        "environments.development.variables.HF_TOKEN: a secret is written as a literal: declare it"
        " under security.secrets and refer to it as ${NAME} or by 'secrets'",
    ),
    "image without a tag": (
        "'redis:7-alpine'}",
        "'localhost:5000/redis'} #!",
        "services.cache.image.default: image 'localhost:5000/redis' has no tag: add one,"
        " such as ':1.2.3'",
    ),
    "image on latest": (
        "'redis:7-alpine'}",
        "'redis:latest'} #!",
        "services.cache.image.default: image 'redis:latest' is on 'latest', which changes under"
        " you: pin a version",
    ),
    "duplicate key": (
        SITE,
        SITE + "    description: Again. #!\n",
        "services.site.description: the key is given twice",
    ),
    "bad duration": (
        "default: 7d}",
        "default: 7 days} #!",
        "environments.development.retention.default: '7 days' is not a duration such as"
        " '30s', '1h30m', '7d'",
    ),
    "bad size": (
        SITE,
        SITE + "    shm_size: 64X #!\n",
        "services.site.shm_size: '64X' is not a size such as '512M', '4G', '100GB'",
    ),
    "reservation above the limit": (
        SITE,
        SITE + "    resources: {limits: {memory: 1G}, reservations: {memory: 2G}} #!\n",
        "services.site.resources: the memory reservation is above the limit",
    ),
    "mount of two sources": (
        "{target: /data, volume: rows}",
        "{target: /data, volume: rows, bind: /x} #!",
        "services.database.mounts[0]: a mount needs exactly one of 'volume', 'bind', 'tmpfs'",
    ),
    "bad name": (
        "  cache:\n    description",
        "  Cache!: #!\n    description",
        "services.Cache!: 'Cache!' does not match ^[a-z0-9][a-z0-9_-]*$",
    ),
    "a member of no union": (
        SITE,
        SITE + "    gpu: {count: some} #!\n",
        "services.site.gpu.count: Input should be a valid integer, unable to parse string as an"
        " integer, or Input should be 'all'",
    ),
    "text where a mapping belongs": (
        "retention: {}",
        "retention: none #!",
        "retention: expected a mapping of keys to values",
    ),
    "key that is no text": (
        "retention: {}",
        "retention: {? [a] : b} #!",
        "retention: a key must be a plain text",
    ),
    "backup type of another method": (
        "    ports:\n      - {name: cache",
        "    backup:\n      types: [config, rdb] #!\n    ports:\n      - {name: cache",
        "services.cache.backup.types[1]: the backup method 'volumes' has no type 'rdb'; it has"
        " full, config",
    ),
    "syntax error": (
        "stacks: [base, front]",
        "stacks: [base, front #!",
        "did not find expected ',' or ']'",
    ),
    "date that does not exist": (
        "timezone: Europe/Berlin",
        "timezone: 2026-13-45",
        "a value can't be read: month must be in 1..12",
    ),
}
