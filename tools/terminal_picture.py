# SPDX-License-Identifier: Apache-2.0
"""Draw a picture of a terminal: what the demonstration says and does.

The commands are run; port and folder are replaced, so that the picture is the
same each time.
"""

import html
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import threading
import time

BIN = pathlib.Path(sys.executable).parent
# Seconds for the demonstration, for a command, and for an edit.
PATIENCE = 90
PORT, FOLDER = "8774", "/tmp/images-service-demo"
LIST = (
    "curl -s -H 'X-Auth-Token: {user}:demo' {url} \\\n"
    "    | python3 -m json.tool | grep -E '\"name\"|:size' | head -n 4"
)
EDIT = """sed -i 's/image-size": ""/image-size": "role:admin"/' {path}"""
WIDTH, LINE, COLUMN, MARGIN = 92, 18, 7.83, 16
STYLE = """\
text { font: 13px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace;
  fill: #d7dde5; white-space: pre; }
.command { fill: #fff; font-weight: bold; }
.prompt { fill: #7fd29a; }
.note { fill: #8f9bab; }"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def welcome(process: subprocess.Popen[str]) -> str:
    """Return what the demonstration prints when it can be used."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        if text or line.startswith("images_service serves"):
            text += line
        if line.startswith("Stop it"):
            return text
    raise SystemExit("The demonstration has ended.")


def run(command: str) -> str:
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        timeout=PATIENCE,
    )
    return done.stdout


def session(text: str) -> list[tuple[str, str]]:
    """Return commands with their output.

    :param text: the welcome.
    """
    (url,) = re.findall(r"curl .* (http://\S+)", text)
    (path,) = re.findall(r"Edit (\S+) ", text)
    member, admin = (
        LIST.format(user=user, url=url) for user in ("alice", "admin")
    )
    first_lines = re.findall(r"^images_service .*|^In a browser.*", text, re.M)
    first = run(member)
    edit = EDIT.format(path=path)
    run(edit)
    deadline = time.monotonic() + PATIENCE
    while (second := run(member)) == first:
        if time.monotonic() > deadline:
            raise SystemExit("The edit has no effect.")
        time.sleep(0.2)
    found = [
        ("images-service-api --demo", "\n".join(first_lines)),
        (member, first),
        (edit, "# It takes effect within two seconds.\n"),
        (member, second),
        (admin, run(admin)),
    ]
    port = url.split(":")[2].split("/")[0]

    def named(text: str) -> str:
        text = text.replace(os.path.dirname(path), FOLDER)
        return text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{PORT}")

    return [(named(command), named(output)) for command, output in found]


def draw(pairs: list[tuple[str, str]]) -> str:
    """Return the picture as SVG."""
    lines = []
    for command, output in pairs:
        first, *more = command.split("\n")
        lines.append(
            f'<tspan class="prompt">$ </tspan>'
            f'<tspan class="command">{html.escape(first)}</tspan>'
        )
        for text in more:
            lines.append(f'<tspan class="command">{html.escape(text)}</tspan>')
        for text in output.splitlines():
            kind = ' class="note"' if text.startswith("#") else ""
            lines.append(f"<tspan{kind}>{html.escape(text)}</tspan>")
        lines.append("")
    width = round(WIDTH * COLUMN + 2 * MARGIN)
    height = (len(lines) - 1) * LINE + 2 * MARGIN
    texts = "\n".join(
        f'<text x="{MARGIN}" y="{MARGIN + (number + 0.75) * LINE:g}">'
        f"{line}</text>"
        for number, line in enumerate(lines)
        if line
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" role="img">\n'
        f"<style>\n{STYLE}\n</style>\n"
        f'<rect width="{width}" height="{height}" rx="8" fill="#1b2129"/>\n'
        f"{texts}\n</svg>\n"
    )


def main(path: str) -> None:
    process = subprocess.Popen(
        [BIN / "images-service-api", "--demo", "--port", str(free_port())],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    limit = threading.Timer(PATIENCE, process.kill)
    limit.start()
    try:
        pairs = session(welcome(process))
    finally:
        limit.cancel()
        process.send_signal(signal.SIGTERM)
        process.wait(PATIENCE)
    pathlib.Path(path).write_text(draw(pairs), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
