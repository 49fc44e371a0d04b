# Answers requests for images inside DevStack's Nova, from a mirror of its
# Glance: doc/source/install/devstack.rst. DevStack sources this file with a mode
# and a phase.

function install_images_service {
    setup_develop "$IMAGES_SERVICE_DIR" mysql,postgresql,memcached,mirror
}

function configure_images_service {
    local url

    sudo install -d -o "$STACK_USER" -m 750 "$IMAGES_SERVICE_CONF_DIR"
    cp "$IMAGES_SERVICE_DIR"/etc/images_service/* "$IMAGES_SERVICE_CONF_DIR"
    touch "$IMAGES_SERVICE_CONF"
    chmod 640 "$IMAGES_SERVICE_CONF"

    # Without DevStack's options of the driver: they name a counter of queries,
    # and a character set without all characters.
    url=$(database_connection_url images_service)
    url=${url%%\?*}
    iniset "$IMAGES_SERVICE_CONF" database connection "${url/#postgresql:/postgresql+psycopg:}"

    # The mirror sees the images of all projects as an administrator.
    create_service_user images admin
    configure_keystone_authtoken_middleware "$IMAGES_SERVICE_CONF" images
    iniset "$IMAGES_SERVICE_CONF" keystone_authtoken service_token_roles service
    iniset "$IMAGES_SERVICE_CONF" keystone_authtoken service_token_roles_required True
    iniset "$IMAGES_SERVICE_CONF" glance mode mirror
    configure_keystoneauth "$IMAGES_SERVICE_CONF" images glance

    # Nova starts after this phase.
    iniset "$NOVA_API_PASTE_INI" composite:osapi_compute filter-with egg:images_service#front
}

function init_images_service {
    recreate_database images_service
    "$(get_python_exec_prefix)"/images-service-manage --config-file "$IMAGES_SERVICE_CONF" db sync
}

function start_images_service {
    local bin

    bin=$(get_python_exec_prefix)
    "$bin"/images-service-manage --config-file "$IMAGES_SERVICE_CONF" mirror sync
    run_process images-service "$bin/images-service-mirror --config-file $IMAGES_SERVICE_CONF"
}

if is_service_enabled images-service; then
    case "$1 $2" in
        "stack install")
            echo_summary "Installing images_service"
            install_images_service
            ;;
        "stack post-config")
            echo_summary "Configuring images_service"
            configure_images_service
            init_images_service
            ;;
        "stack extra")
            # Glance runs only now.
            echo_summary "Copying images from Glance"
            start_images_service
            ;;
        "unstack ")
            stop_process images-service
            ;;
        "clean ")
            sudo rm -rf "$IMAGES_SERVICE_CONF_DIR"
            ;;
    esac
fi
