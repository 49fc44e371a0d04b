# SPDX-License-Identifier: Apache-2.0
"""The one class that is asked whether an action is allowed."""

from collections.abc import Callable
from collections.abc import Mapping
import functools
from typing import Any

from oslo_config import cfg

from images_service import config
from images_service import context
from images_service import model
from images_service.policy import explanation
from images_service.policy import files
from images_service.policy import rules
from images_service.policy.snapshot import Snapshot
from images_service.watched import FileError
from images_service.watched import Watched

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

    An edit is in force within two seconds; see ``watched.Watched``.

    :param conf: its ``[oslo_policy]`` group names the files.
    :raises FileError: a file that is named isn't there, or one of the files
        can't be taken.
    """

    def __init__(self, conf: cfg.ConfigOpts) -> None:
        self._conf = conf
        # A file that was there at the start is the one, also while it is not
        # there: another one must not take its place and open what it closes.
        self._main = main_file(conf, required=True)
        load = functools.partial(Snapshot, conf)
        self._rules = Watched("Policy", self._paths, load)

    def allows(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> bool:
        """Tell whether the caller may do what a rule is about."""
        return self._rules.value.allows(rule, caller, target)

    def is_admin(self, caller: context.RequestContext) -> bool:
        """Tell whether the caller sees the images of every project.

        A rule that holds for everybody tells administrators from nobody, and
        is most likely a mistake: what is private stays so.
        """
        snapshot = self._rules.value
        return not snapshot.everybody_is_admin and snapshot.allows(
            rules.CONTEXT_IS_ADMIN, caller, {"project_id": caller.project_id}
        )

    def explain(
        self,
        rule: str,
        caller: context.RequestContext,
        target: Mapping[str, Any],
    ) -> explanation.Explanation:
        """Tell why the caller may do what a rule is about, or may not."""
        return self._rules.value.explain(rule, caller, target)

    @property
    def everybody_is_admin(self) -> bool:
        """Whether the rule for administrators holds for everybody."""
        return self._rules.value.everybody_is_admin

    @property
    def sources(self) -> Mapping[str, tuple[str, str]]:
        """The rules in force: name -> (file or ``default``, text)."""
        return self._rules.value.sources

    @property
    def problem(self) -> str | None:
        """Why the files as they are now are not in force, None if they are."""
        return self._rules.problem

    def tell_of_edits(self, told: Callable[[bool], object]) -> None:
        """Have a function called at each edit: whether it was taken."""
        self._rules.tell(told)

    def _paths(self) -> list[str]:
        """Return the policy files, of which later ones win."""
        paths = [self._main or main_file(self._conf, required=False)]
        for name in self._conf.oslo_policy.policy_dirs:
            folder = self._conf.find_file(name)
            if folder is not None:
                paths += files.in_folder(folder)
        return [path for path in paths if path is not None]


def main_file(conf: cfg.ConfigOpts, *, required: bool) -> str | None:
    """Return the path of the policy file, None where there is none.

    :param required: refuse a name that is no file's, and two files.
    :raises FileError: it is refused.
    """
    name: str = conf.oslo_policy.policy_file
    location = conf.get_location("policy_file", "oslo_policy")
    if location is not None and location.location in _NAMED:
        path = config.find_file(conf, name)
        if path is None and required:
            raise FileError(name, None, "there is no such file")
        return path or name
    own = {
        suffix: conf.find_file(f"policy.{suffix}")
        for suffix in ("json", "yaml")
    }
    if required and all(own.values()):
        raise FileError(
            f"{own['json']}, {own['yaml']}",
            None,
            "both are there; name one in [oslo_policy] policy_file",
        )
    return own["json"] or own["yaml"] or config.find_file(conf, name)


def target_of(image: model.Image) -> dict[str, Any]:
    """Return what a rule can ask of an image."""
    return {
        "project_id": image.owner,
        "visibility": image.visibility,
        "status": image.status,
        "protected": image.protected,
        "image_id": image.id,
    }
