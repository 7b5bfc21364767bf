"""The roles of attacked rows: one for each attack, its controls, its prompts read as text, and those made elsewhere."""

from typing import NamedTuple

from workbench.evaluation.roles import Role

NEW_SEEDS, AT_RANDOM, AS_TEXT, ELSEWHERE = "new seeds", "at random", "as text", "made against others"
CONTROLS = (NEW_SEEDS, AT_RANDOM)
NEVER_KNOWN = Role(
    name="never known", metric="never_known_absent", wanted="absent", label="names what the model never knew",
    pictures="whose prompt names what the model never knew", in_mean=False, named=False, adversarial=True,
)  # fmt: skip


class Part(NamedTuple):
    """An attack by its label, or what belongs to it: one of `CONTROLS`, `AS_TEXT`, `ELSEWHERE`; "" for itself."""

    attack: str
    what: str = ""

    @property
    def role(self) -> str:
        """The name of its role."""
        return f"{self.attack}, {self.what}" if self.what else self.attack


def role_of(part: Part) -> Role:
    """The role of such rows. It counts in a metric of its own and in no mean."""
    words = {
        "": f"attacks the edit by {part.attack}", NEW_SEEDS: f"as many new seeds as {part.attack}",
        AT_RANDOM: f"as many random draws of what {part.attack} seeks",
        AS_TEXT: f"the prompts of {part.attack} as text", ELSEWHERE: f"what {part.attack} made against others",
    }  # fmt: skip
    metric = f"{part.role.replace(', ', '_').replace(' ', '_')}_efficacy"
    pictures = f"that {words[part.what]}" if not part.what else f"of {words[part.what]}"
    return Role(
        name=part.role, metric=metric, wanted="absent", label=words[part.what], pictures=pictures, in_mean=False,
        named=False, adversarial=True,
    )  # fmt: skip
