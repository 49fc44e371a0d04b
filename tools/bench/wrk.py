# SPDX-License-Identifier: Apache-2.0
"""Load from wrk."""

import shutil
import subprocess
import sys
import tempfile
from typing import NamedTuple

# Of the item that a PUT changes.
KEY = "os_version"
# Seconds for the requests of a round.
_AT_MOST = 600
# Ends after so many answers, for wrk itself ends after a time only.
_COUNTED = """
local paths, token, method = {%(paths)s}, "%(token)s", "%(method)s"
local sent, answered, failed = 0, 0, 0
function request()
  sent = sent + 1
  local body = nil
  if method == "PUT" then
    body = '{"meta": {"%(key)s": "' .. %(salt)d + sent .. '"}}'
  end
  return wrk.format(method, paths[sent %% #paths + 1], {
    ["X-Auth-Token"] = token, ["Content-Type"] = "application/json"}, body)
end
function response(status)
  answered = answered + 1
  if status ~= 200 then failed = failed + 1 end
  if answered == %(count)d then
    print(failed)
    io.flush()
    os.exit(0)
  end
end
"""
# Tells what wrk has measured, times in microseconds.
_TIMED = """
wrk.headers["X-Auth-Token"] = "%(token)s"
function done(summary, latency)
  local e = summary.errors
  print(string.format("\\n%%d %%d %%d %%d %%d",
    summary.requests, summary.duration,
    latency:percentile(50), latency:percentile(99),
    e.connect + e.read + e.write + e.status + e.timeout))
end
"""


class Summary(NamedTuple):
    """What wrk has measured; times are in microseconds."""

    requests: int
    duration: int
    p50: int
    p99: int
    errors: int


def check() -> None:
    """End the program where wrk is missing."""
    if shutil.which("wrk") is None:
        sys.exit("wrk is not installed: bindep.txt lists its package")


def count(port, paths, method, number, connections, token, salt):
    """Send so many requests; return how many of the answers are not 200.

    :param paths: that take turns.
    :param salt: makes the values of this call's changes new.
    """
    script = _COUNTED % {
        "paths": ", ".join(f'"{path}"' for path in paths),
        "token": token,
        "method": method,
        "key": KEY,
        "salt": salt,
        "count": number,
    }
    (failed,) = _run(port, script, connections, _AT_MOST)
    return failed


def time(port, path, seconds, connections, token):
    """Ask for one path for some time; return a summary."""
    script = _TIMED % {"token": token}
    return Summary(*_run(port, script, connections, seconds, path))


def _run(port, script, connections, duration, path="/"):
    """Return the numbers that wrk's script prints at last."""
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as file:
        file.write(script)
        file.flush()
        done = subprocess.run(
            [
                *("wrk", "-t1", f"-c{connections}", f"-d{duration}s"),
                *("--timeout", "60s", "-s", file.name),
                f"http://127.0.0.1:{port}{path}",
            ],
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=duration + 100,
        )
    return [int(word) for word in done.stdout.splitlines()[-1].split()]
