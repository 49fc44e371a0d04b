# SPDX-License-Identifier: Apache-2.0
"""images-service-status: whether what is deployed can be started again."""

from collections.abc import Sequence
import sys

from oslo_config import cfg
from oslo_upgradecheck import upgradecheck

from images_service import config
from images_service.middleware import users
from images_service.policy import enforcer
from images_service.policy import snapshot
from images_service.watched import FileError


class Checks(upgradecheck.UpgradeCommands):
    """What ``upgrade check`` looks at.

    A service that runs goes on with what it has read before, so a file that
    can't be taken is a warning; one that starts refuses it.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf

    def _policy(self) -> upgradecheck.Result:
        """Look whether the policy files can be taken."""
        try:
            policy = enforcer.Policy(self._conf)
        except FileError as error:
            return _not_taken(error)
        if policy.everybody_is_admin:
            return _warning(snapshot.EVERYBODY)
        return upgradecheck.Result(upgradecheck.Code.SUCCESS)

    def _users(self) -> upgradecheck.Result:
        """Look whether the files of http_basic can be taken, if it is used."""
        if self._conf.api.auth_strategy == "http_basic":
            try:
                users.Users(self._conf)
            except FileError as error:
                return _not_taken(error)
        return upgradecheck.Result(upgradecheck.Code.SUCCESS)

    _upgrade_checks = (("Policy files", _policy), ("User files", _users))


def _not_taken(error: FileError) -> upgradecheck.Result:
    return _warning(
        f"{error}. Services that run go on as before; none will start. Mend "
        "the file."
    )


def _warning(details: str) -> upgradecheck.Result:
    return upgradecheck.Result(upgradecheck.Code.WARNING, details)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; return 0 for success, 1 for warnings, 2 for failures.

    255 says that something went wrong with the checks themselves.
    """
    conf = config.new()
    try:
        return upgradecheck.main(
            conf,
            config.PROJECT,
            Checks(conf),
            list(sys.argv[1:] if argv is None else argv),
        )
    except cfg.Error as error:
        print(f"images-service-status: {error}", file=sys.stderr)
        return 255
