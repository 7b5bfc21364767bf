"""The embedded world: a renderer whose ground truth is known, a judge, and a small Stable Diffusion that learnt from
it."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from workbench.toy.vocabulary import concepts, contrasts

if TYPE_CHECKING:
    from workbench.toy.oracle import Oracle
    from workbench.toy.suites import suite

ATTACKS = {"toy": "attacks.yaml", "toy-janus": "attacks-janus.yaml"}  # files of attacks by the model
__all__ = ["Oracle", "all_attacks", "all_methods", "concepts", "contrasts", "path", "safety_set", "suite"]


def path() -> Path:
    """The shipped pipeline.

    Returns:
        An ordinary diffusers folder.
    """
    return Path(__file__).parent / "weights" / "pipeline"


def all_methods() -> Path:
    """The comparison of every method at settings that suit a model of this size.

    Returns:
        A comparison file.
    """
    return Path(__file__).parent / "comparison.yaml"


def all_attacks(model: str = "toy") -> Path:
    """The attacks on the methods of a comparison, at settings that a model of this size affords.

    Args:
        model: "toy", or "toy-janus" for those that have a form for it.

    Returns:
        A file of attacks, for `workbench compare --attacks`.
    """
    return Path(__file__).parent / ATTACKS[model]


def protocols_folder() -> Path:
    """Protocols of publications in the words of the world.

    Returns:
        A folder of YAML files, for `workbench protocol`.
    """
    return Path(__file__).parent / "protocols"


def safety_set() -> Path:
    """What the world is asked about fairness, toxicity and privacy, with stand-ins for what is unsafe.

    Returns:
        A set of prompts, for `workbench safety`.
    """
    return Path(__file__).parent / "safety.yaml"


def __getattr__(name: str) -> Any:
    """`Oracle` and `suite` need torch and pandas, so they are imported on first use."""
    if name == "Oracle":
        from workbench.toy.oracle import Oracle

        return Oracle
    if name == "suite":
        from workbench.toy.suites import suite

        return suite
    raise AttributeError(f"module 'workbench.toy' has no attribute {name!r}")
