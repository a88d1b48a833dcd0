#!/bin/bash
# Takes the official image's settings and does what it does: POSTGRES_USER, POSTGRES_DB, POSTGRES_PASSWORD,
# POSTGRES_INITDB_ARGS (each also as <NAME>_FILE), POSTGRES_HOST_AUTH_METHOD, PGDATA, and the files of
# /docker-entrypoint-initdb.d. Until an empty data folder is initialised, the server listens on its
# socket only.
set -euo pipefail
shopt -s nullglob

# from_file NAME DEFAULT: sets NAME from the file that NAME_FILE names, else from NAME, else to DEFAULT.
from_file() {
  local name=$1 file_name=$1_FILE value=${2:-}
  if [[ -n ${!name:-} && -n ${!file_name:-} ]]; then
    echo >&2 "error: both $name and $file_name are set"
    exit 1
  fi
  if [[ -n ${!name:-} ]]; then
    value=${!name}
  elif [[ -n ${!file_name:-} ]]; then
    value=$(<"${!file_name}")
  fi
  export "$name=$value"
  unset "$file_name"
}

local_psql() {
  PGHOST=/var/run/postgresql PGHOSTADDR="" psql -v ON_ERROR_STOP=1 --no-psqlrc --no-password \
    --username "$POSTGRES_USER" "$@"
}

initialise() {
  if [[ -z $POSTGRES_PASSWORD && $POSTGRES_HOST_AUTH_METHOD != trust ]]; then
    echo >&2 "error: the data folder is empty and no superuser password is given: set POSTGRES_PASSWORD or POSTGRES_PASSWORD_FILE"
    exit 1
  fi
  # The password goes through a pipe and never into an argument.
  local extra=()
  read -r -a extra <<<"$POSTGRES_INITDB_ARGS"
  initdb --username="$POSTGRES_USER" --pwfile=<(printf "%s\n" "$POSTGRES_PASSWORD") "${extra[@]}"
  printf '\nhost all all all %s\n' "$POSTGRES_HOST_AUTH_METHOD" >>"$PGDATA/pg_hba.conf"

  # "$@" is the command the container was given, so that init scripts run under its settings.
  local shown
  printf -v shown '%q ' "${@:2}" -c listen_addresses= -p 5432
  pg_ctl -D "$PGDATA" -o "$shown" -w start
  export PGPASSWORD=${PGPASSWORD:-$POSTGRES_PASSWORD}
  if [[ $POSTGRES_DB != postgres ]]; then
    local_psql --dbname postgres --set db="$POSTGRES_DB" <<<'CREATE DATABASE :"db";'
  fi
  local file
  for file in /docker-entrypoint-initdb.d/*; do
    case $file in
      *.sh)
        if [[ -x $file ]]; then
          echo "$0: running $file"
          "$file"
        else
          echo "$0: sourcing $file"
          # shellcheck disable=SC1090
          . "$file"
        fi
        ;;
      *.sql)
        echo "$0: running $file"
        local_psql --dbname "$POSTGRES_DB" -f "$file"
        ;;
      *.sql.gz)
        echo "$0: running $file"
        gunzip -c "$file" | local_psql --dbname "$POSTGRES_DB"
        ;;
      *) echo "$0: ignoring $file" ;;
    esac
  done
  unset PGPASSWORD
  pg_ctl -D "$PGDATA" -m fast -w stop
  echo "PostgreSQL init process complete; ready for start up."
}

if [[ ${1:-} == -* ]]; then
  set -- postgres "$@"
fi

if [[ ${1:-} == postgres && " $* " != *" --version "* && " $* " != *" --help "* ]]; then
  from_file POSTGRES_PASSWORD
  from_file POSTGRES_USER postgres
  from_file POSTGRES_DB "$POSTGRES_USER"
  from_file POSTGRES_INITDB_ARGS
  export POSTGRES_HOST_AUTH_METHOD=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  mkdir -p "$PGDATA"
  if [[ $(id -u) == 0 ]]; then
    chmod 700 "$PGDATA"
    find "$PGDATA" \! -user postgres -exec chown postgres:postgres '{}' +
    find /var/run/postgresql \! -user postgres -exec chown postgres:postgres '{}' +
    export HOME=/var/lib/postgresql
    # Secrets were read above, as root: their files need not be readable by the server's user.
    exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
  fi
  if [[ ! -s $PGDATA/PG_VERSION ]]; then
    initialise "$@"
  fi
fi

exec "$@"
