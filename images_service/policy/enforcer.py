# SPDX-License-Identifier: Apache-2.0
"""The one class that is asked whether an action is allowed."""

from collections.abc import Mapping
import threading
import time
from typing import Any

from oslo_config import cfg
from oslo_log import log

from images_service import config
from images_service import context
from images_service import model
from images_service.policy import files
from images_service.policy.snapshot import Snapshot

LOG = log.getLogger(__name__)

# Seconds between two looks at the policy files.
_INTERVAL = 1.0
_NAMED = frozenset(
    {
        cfg.Locations.user,
        cfg.Locations.command_line,
        cfg.Locations.environment,
        cfg.Locations.set_override,
    }
)


class Policy:
    """Answers by the rules of the policy files, else by their defaults.

    An edit is in force within two seconds, whatever the editor does to the
    file. A file that can't be taken leaves the last good rules in force, and
    is logged once.

    :param conf: its ``[oslo_policy]`` group names the files.
    :raises files.PolicyFileError: a file that is named isn't there, or one of
        the files can't be taken.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        self._lock = threading.Lock()
        self._looked = time.monotonic()
        # A file that was there at the start is the one, also while it is not
        # there: another one must not take its place and open what it closes.
        self._main = self._main_file(required=True)
        paths = self._paths()
        self._seen = files.fingerprint(paths)
        self._snapshot = Snapshot(conf, paths)
        # Why the files as they are now are not in force, None if they are.
        self.problem: str | None = None

    def allows(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> bool:
        """Tell whether the caller may do what a rule is about."""
        if time.monotonic() - self._looked >= _INTERVAL:
            self._look()
        return self._snapshot.allows(rule, caller, target)

    @property
    def sources(self) -> Mapping[str, tuple[str, str]]:
        """The rules in force: name -> (file or ``default``, text)."""
        return self._snapshot.sources

    def _look(self) -> None:
        """Put new rules in force if the files have changed."""
        # One thread looks; the others go on with the rules there are.
        if not self._lock.acquire(blocking=False):
            return
        try:
            paths = self._paths()
            found = files.fingerprint(paths)
            if found != self._seen:
                self._take(paths, found)
            self._looked = time.monotonic()
        finally:
            self._lock.release()

    def _take(self, paths: list[str], found: tuple[object, ...]) -> None:
        try:
            snapshot = Snapshot(self._conf, paths)
        except files.PolicyFileError as error:
            self._seen = found
            self.problem = str(error)
            LOG.error("Policy stays as it was: %s", error)
            return
        if files.fingerprint(paths) != found:
            # Written while it was read: look again the next time.
            return
        self._seen = found
        self._snapshot = snapshot
        self.problem = None
        LOG.info("New policy is in force: %s", ", ".join(paths))

    def _paths(self) -> list[str]:
        """Return the policy files, of which later ones win."""
        paths = [self._main or self._main_file(required=False)]
        for name in self._conf.oslo_policy.policy_dirs:
            folder = self._conf.find_file(name)
            if folder is not None:
                paths += files.in_folder(folder)
        return [path for path in paths if path is not None]

    def _main_file(self, *, required: bool) -> str | None:
        """Return the path of the policy file, None where there is none.

        :param required: refuse a name that is no file's, and two files.
        """
        name: str = self._conf.oslo_policy.policy_file
        location = self._conf.get_location("policy_file", "oslo_policy")
        if location is not None and location.location in _NAMED:
            path = config.find_file(self._conf, name)
            if path is None and required:
                raise files.PolicyFileError(
                    name, None, "there is no such file"
                )
            return path or name
        own = {
            suffix: self._conf.find_file(f"policy.{suffix}")
            for suffix in ("json", "yaml")
        }
        if required and all(own.values()):
            raise files.PolicyFileError(
                f"{own['json']}, {own['yaml']}",
                None,
                "both are there; name one in [oslo_policy] policy_file",
            )
        return own["json"] or own["yaml"] or config.find_file(self._conf, name)


def target_of(image: model.Image) -> dict[str, Any]:
    """Return what a rule can ask of an image."""
    return {
        "project_id": image.owner,
        "visibility": image.visibility,
        "status": image.status,
        "protected": image.protected,
        "image_id": image.id,
    }
