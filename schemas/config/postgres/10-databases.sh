#!/bin/bash
# Runs once, when the cluster is created: a role and a database of its own for each application.
# Passwords are read by psql itself, so that none is ever a process argument.
set -e

create_database() {
  psql -v ON_ERROR_STOP=1 --no-psqlrc --username "$POSTGRES_USER" --dbname postgres --quiet <<SQL
\set password \`cat /run/secrets/$2\`
CREATE ROLE "$1" LOGIN PASSWORD :'password';
CREATE DATABASE "$1" OWNER "$1";
REVOKE ALL ON DATABASE "$1" FROM PUBLIC;
SQL
}

create_database litellm litellm_database_password
create_database n8n n8n_database_password
