#!/usr/bin/env bash
# Make the database user that tests on real servers connect as, and give it the
# right to make databases of its own.  Servers that aren't there are left out.
set -eu

user=openstack_citest
password=openstack_citest

if command -v mysql >/dev/null; then
    mysql -h "${MYSQL_HOST:-127.0.0.1}" -u "${MYSQL_USER:-root}" <<EOF
CREATE USER IF NOT EXISTS '$user'@'localhost' IDENTIFIED BY '$password';
CREATE USER IF NOT EXISTS '$user'@'127.0.0.1' IDENTIFIED BY '$password';
GRANT ALL PRIVILEGES ON \`${user}%\`.* TO '$user'@'localhost';
GRANT ALL PRIVILEGES ON \`${user}%\`.* TO '$user'@'127.0.0.1';
CREATE DATABASE IF NOT EXISTS $user;
EOF
fi

if command -v psql >/dev/null; then
    psql -q -h "${PGHOST:-127.0.0.1}" -U "${PGUSER:-postgres}" postgres <<EOF
DO \$\$ BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$user') THEN
        CREATE ROLE $user LOGIN PASSWORD '$password' CREATEDB;
    END IF;
END \$\$;
SELECT 'CREATE DATABASE $user OWNER $user'
 WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$user')\gexec
EOF
fi
