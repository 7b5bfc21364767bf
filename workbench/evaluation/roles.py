"""Roles: what the prompts of a suite are for, what is expected of their pictures, and in which metric they count."""

from collections.abc import Iterable
from typing import Literal

from saes.config import StrictConfig
from saes.errors import WorkbenchError

_HEADINGS = {
    "implied_efficacy": "implied", "anchor_shown": "anchor shown", "told_specificity": "told kept",
    "neighbour_specificity": "near kept", "unrelated_specificity": "far kept",
}  # fmt: skip
OF_ALL = ("harmonic_mean", "intact", "pixel_drift", "feature_drift")  # metrics that belong to no role


class Role(StrictConfig):
    """One role.

    Args:
        name: What rows call it.
        metric: The rate in which its pictures count. Roles may share one, if they want the same.
        wanted: Whether the concept that a row expects should be absent from its picture (the row is about the concept
            to be erased) or present (it should be spared). In doubt the edit is charged: an absent concept must be
            absent from broken pictures too, a present one must be in an intact picture.
        label: What the prompts do, over figures: "names the target". The role's name if left out.
        pictures: What the pictures are called in a sentence, "… in 3 % of the images {pictures}" for absent concepts,
            "{pictures} still appear" for present ones.
        in_mean: Whether the metric enters the harmonic mean.
        named: Whether prompts name what they expect, so that a judge must find it in the unedited model's pictures.
        adversarial: Whether prompts were made to meet one edit, by an attack or its control. Whether their pictures are
            whole says nothing of the edit, and reports show them apart.
    """

    name: str
    metric: str
    wanted: Literal["absent", "present"]
    label: str = ""
    pictures: str = ""
    in_mean: bool = True
    named: bool = True
    adversarial: bool = False

    def model_post_init(self, context: object) -> None:
        """Fills in the words that were left out."""
        of_role = f"of the role {self.name}"
        words = {
            "label": self.name,
            "pictures": of_role if self.wanted == "absent" else f"the concepts {of_role}",
        }
        for field, default in words.items():
            if not getattr(self, field):
                object.__setattr__(self, field, default)


ROLES = {
    role.name: role
    for role in (
        Role(
            name="target", metric="efficacy", wanted="absent",
            label="names the target", pictures="whose prompt names it",
        ),
        Role(
            name="synonym", metric="generality", wanted="absent",
            label="a synonym", pictures="whose prompt uses a synonym",
        ),
        Role(
            name="implied", metric="implied_efficacy", wanted="absent",
            label="only implies it", pictures="whose prompt only implies it", in_mean=False, named=False,
        ),
        Role(
            name="anchor", metric="anchor_shown", wanted="present",
            label="names the anchor", pictures="the anchor", in_mean=False,
        ),
        Role(
            name="told", metric="told_specificity", wanted="present",
            label="names what was to be kept", pictures="concepts that the fit was told to keep", in_mean=False,
        ),
        Role(
            name="neighbour", metric="neighbour_specificity", wanted="present",
            label="names a neighbour", pictures="near concepts",
        ),
        Role(
            name="unrelated", metric="unrelated_specificity", wanted="present",
            label="unrelated", pictures="far concepts",
        ),
    )
}  # fmt: skip
"""The roles that every suite may use; a suite brings others itself (`Suite.roles`).

Only concepts that the fit knows nothing of show how specific an edit is: `neighbour` (related to the target) and
`unrelated` are such. A concept that the fit was told to keep is `told`, or the `anchor`, whose pictures show that it
still means itself.
"""
UNTOLD = ("neighbour", "unrelated")


def joined_roles(roles: Iterable[Role]) -> dict[str, Role]:
    """Roles by name, each once.

    Args:
        roles: Those of several suites, repeats included.

    Returns:
        First the roles of `ROLES` among them in its order, then the others as they come.

    Raises:
        WorkbenchError: One name stands for two roles, roles that share a metric want different things, or a metric
            has the name of one that belongs to no role.
    """
    found: dict[str, Role] = {}
    wanted: dict[str, str] = {}
    for role in sorted(roles, key=lambda role: role.name not in ROLES):
        if found.setdefault(role.name, role) != role:
            raise WorkbenchError(f"Two roles are called {role.name!r}.", "Give one of them another name.")
        if wanted.setdefault(role.metric, role.wanted) != role.wanted or role.metric in OF_ALL:
            raise WorkbenchError(
                f"The role {role.name!r} cannot count in {role.metric!r}.", "Give its metric a name of its own."
            )
    order = [name for name in ROLES if name in found]
    return {name: found[name] for name in [*order, *(name for name in found if name not in order)]}


def rates(roles: Iterable[Role]) -> dict[str, tuple[Role, ...]]:
    """The rates that roles count in: metric → its roles, in their order."""
    found: dict[str, tuple[Role, ...]] = {}
    for role in roles:
        found[role.metric] = (*found.get(role.metric, ()), role)
    return found


def in_order(metrics: Iterable[str]) -> list[str]:
    """Metrics as tables show them, each once: the rates of `ROLES`, those of other roles, then those of no role."""
    found = dict.fromkeys(metrics)
    known = list(rates(ROLES.values()))
    own = [metric for metric in found if metric not in (*known, *OF_ALL)]
    return [metric for metric in (*known, *own, *OF_ALL) if metric in found]


def heading(metric: str) -> str:
    """What a metric is called over a column."""
    return _HEADINGS.get(metric, metric.replace("_", " "))
