# SPDX-License-Identifier: Apache-2.0
"""Database servers as processes of the tests: own data, own ports, loopback.

What is started here is ended here, by its process id.
"""

import glob
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time

SECONDS_TO_START = 60


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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


class Process:
    """A server that can be killed and started again."""

    def __init__(self, folder, name):
        self.folder = os.path.join(folder, name)
        os.makedirs(self.folder)
        self.port = free_port()
        self.process = None

    def command(self):
        raise NotImplementedError

    def start(self, *more):
        log = os.path.join(os.path.dirname(self.folder), "log")
        with open(f"{log}-{self.port}", "ab") as output:
            self.process = subprocess.Popen(
                [*self.command(), *more], stdout=output, stderr=output
            )

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self):
        if self.process is not None and self.process.poll() is None:
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
                raise AssertionError(f"{self.folder}: the server has ended")
            if time.monotonic() > deadline:
                raise AssertionError(f"{self.folder}: it doesn't answer")
            time.sleep(0.1)

    def sql(self, statement):
        raise NotImplementedError

    def answers(self):
        try:
            self.sql("SELECT 1")
        except subprocess.CalledProcessError:
            return False
        return True


class MariaDB(Process):
    """One mariadbd; user root without a password."""

    def __init__(self, folder, name="mariadb"):
        super().__init__(folder, name)
        give(self.folder, "mysql")
        subprocess.run(
            [
                find("mariadb-install-db", "mysql_install_db"),
                "--no-defaults",
                f"--datadir={self.folder}",
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
            "--bind-address=127.0.0.1",
            "--innodb-flush-log-at-trx-commit=1",
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


class PostgreSQL(Process):
    """One PostgreSQL; it refuses to run as root, so it runs as postgres."""

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
