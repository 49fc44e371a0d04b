# SPDX-License-Identifier: Apache-2.0
"""Servers as processes of the tests: own data, own ports, loopback.

What is started here is ended here, by its process id.
"""

import contextlib
import glob
import grp
import http.client
import os
import pwd
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time

SECONDS_TO_START = 60
START = "import sys; from images_service.cmd import api; sys.exit(api.main())"


def free_port():
    """Return a port below those that systems give to clients' sockets.

    One of these could take it before the server does.
    """
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


def find(*names):
    """Return the path of a program, None where it isn't installed."""
    for name in names:
        found = shutil.which(name) or next(
            iter(sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}"))), None
        )
        found = found or shutil.which(name, path="/usr/sbin:/sbin")
        if found:
            return found
    return None


def give(folder, name):
    """Let a server's own account have a folder, where root runs the tests."""
    if os.getuid() == 0:
        os.chmod(os.path.dirname(folder), 0o755)
        account = pwd.getpwnam(name)
        os.chown(folder, account.pw_uid, account.pw_gid)


def children(pid):
    """Return the process ids of a process's children."""
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return set(file.read().split())


def count_sockets(pid):
    """Return how many sockets a process has."""
    count = 0
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):
            link = os.readlink(f"{folder}/{name}")
            count += link.startswith("socket:")
    return count


def seconds_of_cpu(pid):
    """Return for how long a process has used a processor.

    That of children that have ended is included.
    """
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        fields = file.read().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def state(pid):
    """Return what a process does, by each of its threads."""
    found = []
    for path in glob.glob(f"/proc/{pid}/task/*/"):
        for name in ("stat", "wchan"):
            with open(path + name, encoding="ascii") as file:
                found.append(file.read()[:60])
    return found


class Process:
    """A server that can be killed and started again.

    :param name: of its own folder, in a folder that it may share.
    """

    # Processes that would answer for a while after the first one is killed.
    has_workers = False
    cwd: str | None = None
    process: subprocess.Popen[bytes]
    environ: dict[str, str] = {}

    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder)
        self.port = free_port()
        self.log = os.path.join(folder, f"log-{name}-{self.port}")

    def command(self):
        raise NotImplementedError

    def start(self, *more):
        with open(self.log, "ab") as output:
            self.process = subprocess.Popen(
                [*self.command(), *more],
                stdout=output,
                stderr=output,
                cwd=self.cwd,
                env={**os.environ, **self.environ},
                start_new_session=self.has_workers,
            )

    def kill(self):
        if self.has_workers:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    @contextlib.contextmanager
    def frozen(self):
        """Stop it and its children, which keep their connections."""
        own = self.process.pid
        os.kill(own, signal.SIGSTOP)
        # It makes no more of them now.
        pids = [own, *map(int, children(own))]
        try:
            for pid in pids:
                os.kill(pid, signal.SIGSTOP)
            yield
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def stop(self):
        # One that has never started has none.
        process = getattr(self, "process", None)
        if process is not None and process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(20)
            except subprocess.TimeoutExpired:
                self.kill()

    def wait(self):
        """Wait until it takes connections."""
        deadline = time.monotonic() + SECONDS_TO_START
        while not self.answers():
            if self.process.poll() is not None:
                raise AssertionError(f"It has ended: {self.last_words()}")
            if time.monotonic() > deadline:
                raise AssertionError(f"No answer: {self.last_words()}")
            time.sleep(0.1)

    def last_words(self):
        """Return the end of its log."""
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return "".join(log.readlines()[-20:])

    def answers(self):
        raise NotImplementedError


class Database(Process):
    """A server that takes SQL."""

    count: str

    def sql(self, statement):
        raise NotImplementedError

    def create(self):
        """Make a database and return its URL."""
        raise NotImplementedError

    def connections(self):
        """Return how many connections the database ``images`` has."""
        return int(self.sql(self.count))

    def answers(self):
        try:
            self.sql("SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True


class HTTPServer(Process):
    """A server that answers GET / without a token."""

    has_workers = True
    worker_count = 2

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def reload(self, seconds=30):
        """Tell it to reload, and wait until all of its workers are new."""
        before = self.workers()
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + seconds
        # While a server starts or reloads, it may have more than it keeps.
        count = min(len(before), self.worker_count)
        while before & self.workers() or len(self.workers()) < count:
            if time.monotonic() > deadline:
                old = {pid: state(pid) for pid in before & self.workers()}
                raise AssertionError(
                    f"No reload; of {before} there is {old}, now there are "
                    f"{self.workers()}: {self.last_words()}"
                )
            time.sleep(0.05)

    def workers(self):
        """Return the process ids of its workers."""
        return children(self.process.pid)

    def seconds_of_cpu(self):
        """Return for how long its workers have used a processor."""
        return sum(map(seconds_of_cpu, self.workers()))

    def answers(self):
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=30
        )
        try:
            connection.request("GET", "/")
            return connection.getresponse().status < 500
        except OSError:
            return False
        finally:
            connection.close()


class Api(HTTPServer):
    """images-service-api.

    :param name: of its folder, which holds ``images_service.conf``.
    """

    def __init__(self, folder, name="api", *, workers=1, threads=4):
        super().__init__(folder, name)
        self.threads = threads
        self.worker_count = workers
        self._sizes = ("--workers", str(workers), "--threads", str(threads))

    def answers(self):
        # A worker that starts later would be taken for one of a reload.
        return super().answers() and len(self.workers()) >= self.worker_count

    def command(self):
        return [
            *(sys.executable, "-c", START, *self._sizes),
            *("--host", "127.0.0.1", "--port", str(self.port)),
            *("--config-file", f"{self.folder}/images_service.conf"),
        ]


class Demonstration(Api):
    """images-service-api --demo."""

    def command(self):
        return [
            *(sys.executable, "-c", START, "--demo"),
            *("--port", str(self.port)),
        ]

    def find_folder(self):
        """Return the folder that its last welcome names."""
        with open(self.log, encoding="utf-8") as file:
            return re.findall("Everything is in (.*) and ", file.read())[-1]


class Nginx(HTTPServer):
    """An nginx with one of the configurations that the project brings.

    :param site: the configuration's path.
    :param ports: what takes the place of the ports that it names.
    """

    def __init__(self, folder, site, ports, name="nginx"):
        super().__init__(folder, name)
        with open(site, encoding="utf-8") as file:
            text = file.read()
        for known, port in {8774: self.port, **ports}.items():
            text = re.sub(rf"\b{known}\b", str(port), text)
        temporary = "".join(
            f"{kind}_temp_path {self.folder}/{kind};\n"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        user = "user root;" if os.getuid() == 0 else ""
        with open(f"{self.folder}/nginx.conf", "w", encoding="utf-8") as file:
            file.write(
                f"{user}\npid {self.folder}/pid;\nerror_log stderr;\n"
                "events {}\nhttp {\naccess_log off;\n"
                f"{temporary}{text}\n}}\n"
            )

    @staticmethod
    def installed():
        return find("nginx")

    def command(self):
        return [
            *(find("nginx"), "-p", self.folder),
            *("-c", f"{self.folder}/nginx.conf", "-g", "daemon off;"),
        ]


class Memcached(Process):
    """A memcached; it forgets everything when it ends."""

    def __init__(self, folder, name="memcached"):
        super().__init__(folder, name)

    @staticmethod
    def installed():
        return find("memcached")

    @property
    def address(self):
        return f"127.0.0.1:{self.port}"

    def command(self):
        user = ["-u", "nobody"] if os.getuid() == 0 else []
        where = ["-l", "127.0.0.1", "-U", "0", "-p", str(self.port)]
        return [find("memcached"), *where, *user]

    def answers(self):
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


class Stub(HTTPServer):
    """A stub of the tests, in a process of its own.

    :param args: of its program, after the port.
    """

    def __init__(self, folder, module, *args):
        super().__init__(folder, module)
        self._module = module
        self._args = args

    def command(self):
        return [
            sys.executable,
            "-m",
            self._module,
            str(self.port),
            *self._args,
        ]


class Keystone(HTTPServer):
    """A Keystone on SQLite, with fernet tokens.

    :param environment: a virtual environment that has keystone and gunicorn.
    """

    PASSWORD = "administrator"

    def __init__(self, folder, environment, name="keystone"):
        super().__init__(folder, name)
        self._programs = os.path.join(environment, "bin")
        self.cwd = self.folder
        self.environ = {"OS_KEYSTONE_CONFIG_DIR": self.folder}
        os.mkdir(f"{self.folder}/keys", 0o700)
        self.configure(expiration=3600)
        # Keystone reads the command line of what serves it, so there is none.
        self._write(
            "gunicorn.conf.py",
            f'bind = "127.0.0.1:{self.port}"\n'
            'wsgi_app = "keystone.wsgi.api:application"\n'
            "threads = 4\n"
            "control_socket_disable = True\n",
        )
        user = pwd.getpwuid(os.getuid()).pw_name
        group = grp.getgrgid(os.getgid()).gr_name
        self.manage("db_sync")
        self.manage(
            *("fernet_setup", "--keystone-user", user),
            *("--keystone-group", group),
        )
        self.manage(
            *("bootstrap", "--bootstrap-password", self.PASSWORD),
            *("--bootstrap-public-url", self.auth_url),
            *("--bootstrap-internal-url", self.auth_url),
            *("--bootstrap-region-id", "here"),
        )

    @property
    def auth_url(self):
        return f"{self.url}/v3"

    def _write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def configure(self, *, expiration):
        """Say how many seconds tokens live; it counts from the next start."""
        self._write(
            "keystone.conf",
            f"""\
[database]
connection = sqlite:///{self.folder}/keystone.sqlite
[token]
expiration = {expiration}
[fernet_tokens]
key_repository = {self.folder}/keys
[fernet_receipts]
key_repository = {self.folder}/keys
[credential]
key_repository = {self.folder}/keys
[identity]
# These passwords are no secrets, and a hash that takes long costs each token.
password_hash_rounds = 4
""",
        )

    def manage(self, *args):
        subprocess.run(
            [
                f"{self._programs}/keystone-manage",
                *("--config-file", f"{self.folder}/keystone.conf", *args),
            ],
            check=True,
            capture_output=True,
        )

    def command(self):
        return [f"{self._programs}/gunicorn"]


class MariaDB(Database):
    """One mariadbd; user root without a password."""

    count = (
        "SELECT COUNT(*) FROM information_schema.processlist "
        "WHERE user = 'images'"
    )

    def __init__(self, folder, name="mariadb"):
        super().__init__(folder, name)
        give(self.folder, "mysql")
        subprocess.run(
            [
                find("mariadb-install-db", "mysql_install_db"),
                "--no-defaults",
                f"--datadir={self.folder}",
                # It starts a server, too; see ``command``.
                f"--tmpdir={self.folder}",
                "--auth-root-authentication-method=normal",
                *self._user(),
            ],
            check=True,
            capture_output=True,
        )

    @staticmethod
    def installed():
        return find("mariadbd") and find("mariadb-install-db")

    def _user(self):
        return ["--user=mysql"] if os.getuid() == 0 else []

    def command(self):
        return [
            find("mariadbd"),
            "--no-defaults",
            f"--datadir={self.folder}",
            f"--port={self.port}",
            f"--socket={self.folder}/socket",
            f"--pid-file={self.folder}/pid",
            # A server clears other servers' temporary tables away when it
            # starts in the same folder.
            f"--tmpdir={self.folder}",
            "--bind-address=127.0.0.1",
            # Commits are with the system, which the tests don't kill; to wait
            # for the disk would be to wait for the other tests' writes.
            "--innodb-flush-log-at-trx-commit=2",
            *self._user(),
        ]

    def sql(self, statement):
        return subprocess.run(
            [
                find("mariadb", "mysql"),
                "--no-defaults",
                f"--socket={self.folder}/socket",
                "-uroot",
                "-N",
                "-e",
                statement,
            ],
            check=True,
            capture_output=True,
            text=True,
        ).stdout

    def create(self):
        """Make a database and return its URL."""
        self.sql(
            "CREATE DATABASE IF NOT EXISTS images; "
            "CREATE USER IF NOT EXISTS images@'127.0.0.1' "
            "IDENTIFIED BY 'images'; "
            "GRANT ALL ON images.* TO images@'127.0.0.1'"
        )
        return self.url()

    def url(self):
        return f"mysql+pymysql://images:images@127.0.0.1:{self.port}/images"


class PostgreSQL(Database):
    """One PostgreSQL; it refuses to run as root, so it runs as postgres."""

    count = "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = 'images'"

    def __init__(self, folder, name="postgresql", initialise=True):
        super().__init__(folder, name)
        os.chmod(self.folder, 0o700)
        give(self.folder, "postgres")
        if initialise:
            self.run(
                "initdb", "-D", self.folder, "-A", "trust", "-U", "images"
            )

    @staticmethod
    def installed():
        return find("initdb")

    def as_user(self, program, *args):
        command = [find(program), *args]
        if os.getuid() == 0:
            command = [
                "setpriv",
                "--reuid=postgres",
                "--regid=postgres",
                "--clear-groups",
                *command,
            ]
        return command

    def run(self, program, *args):
        return subprocess.run(
            self.as_user(program, *args),
            check=True,
            capture_output=True,
            text=True,
            cwd="/",
        ).stdout

    def command(self):
        return self.as_user(
            "postgres",
            "-D",
            self.folder,
            "-p",
            str(self.port),
            # As above.
            "-c",
            "fsync=off",
            "-c",
            "listen_addresses=127.0.0.1",
            "-c",
            f"unix_socket_directories={self.folder}",
        )

    def sql(self, statement, database="postgres"):
        return self.run(
            "psql",
            "-h",
            "127.0.0.1",
            "-p",
            str(self.port),
            "-U",
            "images",
            "-d",
            database,
            "-Atqc",
            statement,
        )

    def create(self):
        """Make a database and return its URL."""
        self.sql("CREATE DATABASE images")
        return self.url()

    def url(self):
        return f"postgresql+psycopg://images@127.0.0.1:{self.port}/images"
