# Functions of DevStack, as far as devstack/plugin.sh calls them; each call is a
# line of $CALLS. The files that they write are real.
# As DevStack, which sources plugins without "set -u".
set -eo pipefail

note() {
    echo "$*" >>"$CALLS"
}

sudo() {
    "$@"
}

define_plugin() { note define_plugin "$@"; }
echo_summary() { :; }
enable_service() { ENABLED_SERVICES=$1; }
is_service_enabled() { [ "$1" = "$ENABLED_SERVICES" ]; }
setup_develop() { note setup_develop "$@"; }
recreate_database() { note recreate_database "$@"; }
create_service_user() { note create_service_user "$@"; }
run_process() { note run_process "$@"; }
stop_process() { note stop_process "$@"; }
database_connection_url() { echo "$BASE_SQL_CONN?charset=utf8&plugin=dbcounter"; }
get_python_exec_prefix() { echo "$BIN"; }

iniset() {  # FILE SECTION OPTION VALUE
    grep -q "^\[$2\]" "$1" || printf '\n[%s]\n' "$2" >>"$1"
    sed -i "/^\[$2\]/ a $3 = $4" "$1"
}

configure_keystoneauth() {  # FILE USER SECTION
    iniset "$1" "$3" auth_type password
    iniset "$1" "$3" auth_url "$KEYSTONE_SERVICE_URI"
    iniset "$1" "$3" username "$2"
    iniset "$1" "$3" password secret
    iniset "$1" "$3" user_domain_name Default
    iniset "$1" "$3" project_name service
    iniset "$1" "$3" project_domain_name Default
}

configure_keystone_authtoken_middleware() {  # FILE USER
    configure_keystoneauth "$1" "$2" keystone_authtoken
    iniset "$1" keystone_authtoken www_authenticate_uri "$KEYSTONE_SERVICE_URI"
    iniset "$1" keystone_authtoken memcached_servers localhost:11211
}
