# SPDX-License-Identifier: Apache-2.0
"""Servers as the installation guide starts them."""

import os
import re

from images_service.tests.servers import processes

ROOT = os.path.join(os.path.dirname(__file__), "..", "..", "..")
# uWSGI's settings, below the working directory.
INI = "etc/uwsgi/images_service.ini"


def command(program):
    """Return the command line by which the guide starts a server."""
    path = os.path.join(ROOT, "doc/source/install/servers.rst")
    with open(path, encoding="utf-8") as file:
        (line,) = re.findall(rf"^   ({program} .+)$", file.read(), re.M)
    return line.split()


class Server(processes.HTTPServer):
    """One of them, on a port of its own.

    :param environment: a virtual environment that has it and the service.
    :param home: of the user as whom it runs, which has the configuration;
        by default its own folder.
    :param command: its program and arguments; its port is 8775 there.
    :param ini: uWSGI's settings; by default those of the checkout.
    """

    def __init__(
        self,
        folder,
        environment,
        command,
        *,
        name="server",
        home=None,
        ini=None,
    ):
        super().__init__(folder, name)
        self.cwd = self.folder
        self.environ = {"HOME": home or self.folder}
        with open(ini or os.path.join(ROOT, INI), encoding="utf-8") as file:
            settings = self._on_own_port(file.read())
        # uWSGI looks for the service in the environment that has both.
        settings += f"\nhome = {environment}\n"
        path = os.path.join(self.folder, INI)
        os.makedirs(os.path.dirname(path))
        with open(path, "w", encoding="utf-8") as file:
            file.write(settings)
        program, *arguments = map(self._on_own_port, command)
        self._command = [f"{environment}/bin/{program}", *arguments]

    def _on_own_port(self, text):
        return text.replace("8775", str(self.port))

    def command(self):
        return self._command
