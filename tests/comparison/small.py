"""The smallest comparison that is real: ItD and UCE on two concepts of the tiny pipeline."""

from pathlib import Path

from tests.tiny_saes import memorising_sae, save_tiny_sae
from workbench.comparison.plan import Comparison
from workbench.comparison.subjects import Subject
from workbench.concepts import Concept
from workbench.erasure.itd import ItD
from workbench.erasure.method import Method
from workbench.erasure.uce import UCE
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.models import Model

TEMPLATES = ("a photo of a {}", "{}")
FOX = Concept("fox", anchor="dog", retain=["owl"], templates=TEMPLATES)
CAT = Concept("cat", anchor="owl", retain=["dog"], templates=TEMPLATES)


def suite(target: str, neighbour: str) -> Suite:
    """A prompt about the target, its neighbour, and a dog, which fits are told to keep."""
    named = [("target", target), ("neighbour", neighbour), ("anchor" if target == "fox" else "told", "dog")]
    return Suite(target, tuple(SuiteRow(f"a photo of a {what}", role, what, 1) for role, what in named))


SUBJECTS = (Subject(FOX, suite("fox", "cat")), Subject(CAT, suite("cat", "fox")))


def two_methods(model: Model, folder: Path) -> dict[str, Method]:
    """ItD with an autoencoder of this model, made in a new folder, and UCE."""
    return {"ItD": ItD(sae=save_tiny_sae(memorising_sae(model, "text.0"), folder)), "UCE": UCE()}


def comparison(methods: dict[str, Method], **more: object) -> Comparison:
    """Both concepts, unless told otherwise."""
    return Comparison(**({"methods": methods, "subjects": SUBJECTS} | more))
