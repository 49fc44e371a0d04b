# SPDX-License-Identifier: Apache-2.0
"""Servers of a small cloud as processes of the tests, on loopback."""

from concurrent import futures
import glob
import os
import socket
import subprocess
import sys
import urllib.error
import urllib.request

import pymysql

from images_service.tests.servers import processes

_START_MIRROR = (
    "import sys; from images_service.cmd import mirror; "
    "sys.exit(mirror.main())"
)


def copy_tables(database, source, target):
    """Make a database with the empty tables of another one."""
    socket_path = f"--socket={database.folder}/socket"
    dump = subprocess.run(
        [
            processes.find("mariadb-dump", "mysqldump"),
            *("--no-defaults", socket_path, "-uroot"),
            *("--no-data", source),
        ],
        check=True,
        capture_output=True,
    ).stdout
    create_database(database, target)
    subprocess.run(
        [
            processes.find("mariadb", "mysql"),
            *("--no-defaults", socket_path, "-uroot", target),
        ],
        check=True,
        input=dump,
        capture_output=True,
    )


def create_database(database, name):
    """Make an empty database as OpenStack's services have it."""
    database.sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb3")


def connection(database, name):
    """Return the URL of a database for OpenStack's services."""
    return (
        f"mysql+pymysql://root@127.0.0.1:{database.port}/{name}"
        "?charset=utf8mb3"
    )


class _OfOpenStack(processes.HTTPServer):
    """A server of OpenStack under uWSGI, with its files in its folder.

    :param environment: a virtual environment that has it and uWSGI.
    """

    def __init__(self, folder, environment, name):
        super().__init__(folder, name)
        # uWSGI would import what is where the tests run.
        self.cwd = self.folder
        self._environment = environment
        self.programs = os.path.join(environment, "bin")

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def _write_uwsgi(self, module, variable, more=""):
        """Write the configuration of uWSGI.

        :param module: that has the application.
        :param variable: of the environment, which names the folder.
        :param more: lines.
        """
        self._write(
            "uwsgi.ini",
            f"""\
[uwsgi]
http-socket = 127.0.0.1:{self.port}
module = {module}:application
env = {variable}={self.folder}
home = {self._environment}
master = true
processes = {self.worker_count}
enable-threads = true
lazy-apps = true
need-app = true
thunder-lock = true
buffer-size = 65535
add-header = Connection: close
die-on-term = true
disable-logging = true
listen = 128
{more}
""",
        )

    def command(self):
        return [f"{self.programs}/uwsgi", "--ini", f"{self.folder}/uwsgi.ini"]


class Glance(_OfOpenStack):
    """A Glance under uWSGI, with files as its store.

    :param environment: a virtual environment that has glance and uWSGI.
    :param database: a running ``MariaDB``.
    :param keystone: a ``Keystone`` whose project ``service`` has a user
        ``glance``.
    :param notifications: URL of the message broker, None for no notifications.
    :param protections: text of the file of property protections.
    """

    PASSWORD = "glance"

    def __init__(
        self,
        folder,
        environment,
        database,
        keystone,
        memcached,
        *,
        notifications=None,
        protections=None,
        name="glance",
    ):
        super().__init__(folder, environment, name)
        self._database = database
        self.schema = name
        self.protections = None
        default = ""
        if notifications is not None:
            default = f"transport_url = {notifications}\n"
        if protections is not None:
            self.protections = self._write("protections.conf", protections)
            default += f"property_protection_file = {self.protections}\n"
        driver = "noop" if notifications is None else "messagingv2"
        self._write(
            "glance-api.conf",
            f"""\
[DEFAULT]
enabled_backends = file:file
worker_self_reference_url = {self.url}
{default}
[database]
connection = {connection(database, name)}
[glance_store]
default_backend = file
[file]
filesystem_store_datadir = {self.folder}/images
[os_glance_staging_store]
filesystem_store_datadir = {self.folder}/staging
[os_glance_tasks_store]
filesystem_store_datadir = {self.folder}/tasks
[paste_deploy]
flavor = keystone
config_file = {environment}/etc/glance/glance-api-paste.ini
[keystone_authtoken]
www_authenticate_uri = {keystone.auth_url}
auth_url = {keystone.auth_url}
memcached_servers = {memcached.address}
auth_type = password
username = glance
password = {self.PASSWORD}
user_domain_id = default
project_name = service
project_domain_id = default
[oslo_messaging_notifications]
driver = {driver}
# Else each write waits for a broker that is down.
retry = 0
""",
        )
        self._write_uwsgi("glance.wsgi.api", "OS_GLANCE_CONFIG_DIR")

    def create_tables(self):
        """Make its database."""
        create_database(self._database, self.schema)
        subprocess.run(
            [
                f"{self.programs}/glance-manage",
                *("--config-file", f"{self.folder}/glance-api.conf"),
                "db_sync",
            ],
            check=True,
            capture_output=True,
        )
        # PostgreSQL and SQLite take values that TEXT of MariaDB can't hold.
        self._database.sql(
            f"ALTER TABLE `{self.schema}`.image_properties MODIFY value "
            "MEDIUMTEXT"
        )

    def copy_tables(self, other):
        """Make its database with the empty tables of another Glance."""
        copy_tables(self._database, other.schema, self.schema)

    def connect(self):
        """Return a connection of a driver to its database."""
        return pymysql.connect(
            host="127.0.0.1",
            port=self._database.port,
            user="root",
            database=self.schema,
            charset="utf8mb3",
        )

    def wipe(self):
        """Remove all images."""
        with self.connect() as connection, connection.cursor() as cursor:
            for table in (
                "image_locations",
                "image_members",
                "image_properties",
                "image_tags",
                "images",
            ):
                cursor.execute(f"DELETE FROM {table}")
            connection.commit()

    def insert(self, table, rows):
        """Add rows to a table of its database.

        :param rows: the values of each one by column, the same in all.
        """
        names = list(rows[0])
        statement = (
            f"INSERT INTO {table} ({', '.join(names)}) VALUES "
            f"({', '.join(['%s'] * len(names))})"
        )
        with self.connect() as connection, connection.cursor() as cursor:
            cursor.executemany(statement, [list(row.values()) for row in rows])
            connection.commit()


class NovaDatabases:
    """Nova's databases in a MariaDB, which its processes share."""

    # What servers of no cell are in, and those of the only cell.
    CELLS = {"nova_cell0": "none:///", "nova": "{transport_url}"}
    HOST = "here"
    FLAVORS = {"small": (512, 1, 1), "large": (4096, 2, 20)}

    def __init__(self, folder, environment, database):
        self.programs = os.path.join(environment, "bin")
        self.database = database
        self._path = os.path.join(folder, "nova-databases.conf")
        with open(self._path, "w", encoding="utf-8") as file:
            file.write(self.options())

    def options(self):
        """Return the part of nova.conf that names them."""
        return (
            f"[api_database]\n"
            f"connection = {connection(self.database, 'nova_api')}\n"
            f"[database]\n"
            f"connection = {connection(self.database, 'nova')}\n"
        )

    def create(self, transport_url="fake:///"):
        """Make them, with one cell and a few flavors.

        :param transport_url: of the message broker of the cell.
        """
        for name in ("nova_api", "nova"):
            create_database(self.database, name)
        # Each one takes seconds, in which it does little but import Nova.
        with futures.ThreadPoolExecutor(2) as pool:
            parts = [
                pool.submit(self._manage, "api_db", "sync"),
                pool.submit(self._manage, "db", "sync", "--local_cell"),
            ]
            for part in parts:
                part.result()
        copy_tables(self.database, "nova", "nova_cell0")
        for number, (name, url) in enumerate(self.CELLS.items()):
            self._insert(
                "cell_mappings",
                uuid=f"00000000-0000-0000-0000-{number:012d}",
                name=f"cell{number}",
                transport_url=url.format(transport_url=transport_url),
                database_connection=connection(self.database, name),
                disabled=0,
            )
        # Nova would look for its hosts once a minute.
        self._insert("host_mappings", host=self.HOST, cell_id=2)
        for name, (memory, processors, disk) in self.FLAVORS.items():
            self._insert(
                "flavors",
                name=name,
                flavorid=name,
                memory_mb=memory,
                vcpus=processors,
                root_gb=disk,
                ephemeral_gb=0,
                swap=0,
                rxtx_factor=1,
                disabled=0,
                is_public=1,
            )

    def _manage(self, *args):
        subprocess.run(
            [
                f"{self.programs}/nova-manage",
                *("--config-file", self._path, *args),
            ],
            check=True,
            capture_output=True,
        )

    def _insert(self, table, **values):
        self.database.sql(
            f"INSERT INTO nova_api.{table} ({', '.join(values)}) "
            f"VALUES ({', '.join(map(repr, values.values()))})"
        )


class Nova(_OfOpenStack):
    """Nova's API under uWSGI.

    :param databases: its ``NovaDatabases``, made.
    :param authtoken: the options of [keystone_authtoken].
    :param edit: takes the text of Nova's own api-paste.ini and returns what
        is used in its place.
    :param threads: of each worker.
    :param environ: variables of its environment.
    :param options: more options of nova.conf by group.
    :param more: lines of uWSGI's configuration.
    """

    def __init__(
        self,
        folder,
        environment,
        databases,
        authtoken,
        *,
        edit=None,
        workers=1,
        threads=1,
        environ=None,
        options=None,
        more="",
        name="nova",
    ):
        super().__init__(folder, environment, name)
        self.worker_count = workers
        self.environ = {"OS_NOVA_CONFIG_DIR": self.folder, **(environ or {})}
        paste = f"{environment}/etc/nova/api-paste.ini"
        with open(paste, encoding="utf-8") as file:
            text = file.read()
        self._write("api-paste.ini", edit(text) if edit else text)
        groups = {
            "DEFAULT": {
                "transport_url": "fake:///",
                "host": databases.HOST,
                "state_path": self.folder,
            },
            "keystone_authtoken": authtoken,
            "oslo_messaging_notifications": {"driver": "noop"},
        }
        for group, values in (options or {}).items():
            groups[group] = {**groups.get(group, {}), **values}
        text = databases.options()
        for group, values in groups.items():
            text += f"[{group}]\n"
            text += "".join(f"{key} = {values[key]}\n" for key in values)
        self._write("nova.conf", text)
        if threads > 1:
            more += f"\nthreads = {threads}"
        self._write_uwsgi(
            "nova.wsgi.osapi_compute", "OS_NOVA_CONFIG_DIR", more
        )

    @property
    def paste(self):
        return os.path.join(self.folder, "api-paste.ini")


class NovaService(processes.Process):
    """A service of Nova that is no API.

    :param server: a ``Nova``, whose configuration it reads.
    :param kind: what follows ``nova-`` in its name.
    """

    has_workers = True

    def __init__(self, server, databases, kind):
        super().__init__(server.folder, kind)
        self.cwd = self.folder
        self._database = databases.database
        self._kind = kind
        self._command = [
            f"{server.programs}/nova-{kind}",
            *("--config-file", f"{server.folder}/nova.conf"),
        ]

    def command(self):
        return self._command

    def answers(self):
        """Tell whether it has reported itself."""
        return self._database.sql(
            f"SELECT 1 FROM nova.services WHERE `binary` = 'nova-{self._kind}'"
            " AND report_count > 0 AND deleted = 0"
        )


class Placement(_OfOpenStack):
    """A Placement under uWSGI.

    :param authtoken: the options of [keystone_authtoken].
    """

    def __init__(self, folder, environment, database, authtoken):
        super().__init__(folder, environment, "placement")
        self.worker_count = 1
        create_database(database, "placement")
        text = (
            "[placement_database]\n"
            f"connection = {connection(database, 'placement')}\n"
            "sync_on_startup = true\n"
            "[keystone_authtoken]\n"
        )
        text += "".join(f"{key} = {authtoken[key]}\n" for key in authtoken)
        self._write("placement.conf", text)
        self._write_uwsgi(
            "placement.wsgi.api", "OS_PLACEMENT_CONFIG_DIR", "threads = 4"
        )


class NovaUnderGunicorn(Nova):
    """Nova's API under gunicorn."""

    def command(self):
        # Nova reads the command line of what serves it, so there is none.
        self._write(
            "gunicorn.conf.py",
            f'bind = "127.0.0.1:{self.port}"\n'
            'wsgi_app = "nova.wsgi.osapi_compute:application"\n'
            f"workers = {self.worker_count}\n"
            "threads = 4\n"
            "timeout = 120\n"
            "control_socket_disable = True\n",
        )
        return [f"{self.programs}/gunicorn"]


class NovaUnderGranian(Nova):
    """Nova's API under granian."""

    def command(self):
        start = (
            "from granian import Granian; "
            "Granian('nova.wsgi.osapi_compute:application', "
            f"port={self.port}, interface='wsgi', "
            f"workers={self.worker_count}, blocking_threads=4).serve()"
        )
        # As for gunicorn.
        return [f"{self.programs}/python", "-c", start]


class _TakesConnections(processes.Process):
    """A server that is ready when it takes connections."""

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class PortMapper(_TakesConnections):
    """An epmd; Erlang would start one that nobody ends."""

    def __init__(self, folder, name="epmd"):
        super().__init__(folder, name)

    def command(self):
        return [
            processes.find("epmd"),
            *("-port", str(self.port), "-address", "127.0.0.1"),
        ]


class RabbitMQ(_TakesConnections):
    """A RabbitMQ node of its own, which may be killed.

    :param port_mapper: a running ``PortMapper``.
    """

    # The shell that starts Erlang, and Erlang.
    has_workers = True

    def __init__(self, folder, port_mapper, name="rabbitmq"):
        super().__init__(folder, name)
        config = os.path.join(self.folder, "rabbitmq.conf")
        with open(config, "w", encoding="utf-8") as file:
            file.write(
                "loopback_users.guest = true\n"
                "vm_memory_high_watermark.absolute = 400MB\n"
                "disk_free_limit.absolute = 50MB\n"
                "log.console = true\n"
                "log.file = false\n"
            )
        plugins = os.path.join(self.folder, "enabled_plugins")
        with open(plugins, "w", encoding="utf-8") as file:
            file.write("[].\n")
        self.environ = {
            # Of the cookie.
            "HOME": self.folder,
            "ERL_EPMD_PORT": str(port_mapper.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"images{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(processes.free_port()),
            "RABBITMQ_MNESIA_BASE": f"{self.folder}/mnesia",
            "RABBITMQ_LOG_BASE": f"{self.folder}/log",
            "RABBITMQ_ENABLED_PLUGINS_FILE": plugins,
            "RABBITMQ_CONFIG_FILE": config,
            "RABBITMQ_CONF_ENV_FILE": "/dev/null",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "-kernel inet_dist_use_interface {127,0,0,1} +S 2:2"
            ),
        }

    @staticmethod
    def program():
        """Return the path of what starts a node as whoever calls it."""
        # Debian's rabbitmq-server changes the user.
        found = glob.glob(
            "/usr/lib/rabbitmq/lib/rabbitmq_server-*/sbin/rabbitmq-server"
        )
        return next(iter(sorted(found)), None)

    @classmethod
    def installed(cls):
        return cls.program() and processes.find("epmd")

    @property
    def transport_url(self):
        return f"rabbit://guest:guest@127.0.0.1:{self.port}//"

    def command(self):
        return [self.program()]

    def stop(self):
        # Nobody needs what it would save.
        process = getattr(self, "process", None)
        if process is not None and process.poll() is None:
            self.kill()


class Mirror(processes.Process):
    """images-service-mirror.

    :param path: of its configuration.
    """

    def __init__(self, folder, path, name="mirror"):
        super().__init__(folder, name)
        self._path = path
        self._metrics_port = processes.free_port()

    def command(self):
        return [
            *(sys.executable, "-c", _START_MIRROR),
            *("--config-file", self._path),
            *("--metrics-port", str(self._metrics_port)),
        ]

    def metric(self, sample):
        """Return the value of a sample as it is shown; 0 if it is not yet."""
        url = f"http://127.0.0.1:{self._metrics_port}/metrics"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                lines = answer.read().decode().splitlines()
        except urllib.error.URLError:
            # It is starting.
            return 0.0
        for line in lines:
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return 0.0
