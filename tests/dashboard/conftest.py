"""A finished run of a tiny pipeline with random weights, and its library with an SAE of prompts and one of pictures."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workbench.dashboard.library import Library
    from workbench.models import Model

SITES = {"words": "text.0", "pixels": "unet.mid"}


@pytest.fixture(scope="session")
def root(tiny_sd1: "Model", tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the finished run `run` and the SAEs `words` and `pixels`."""
    import saes
    from tests.evaluation.small import Brightness, suite
    from tests.tiny_saes import random_sae
    from workbench.edits.interventions import ablation
    from workbench.evaluation.evaluate import evaluate

    folder = tmp_path_factory.mktemp("dashboard")
    for name, site in SITES.items():
        sae = random_sae(tiny_sd1, site)
        saes.save(sae, folder / name, {"hook_name": site, "model_name": tiny_sd1.fingerprint, "l0": 6.0})
    edit = ablation(tiny_sd1, folder / "words", [1, 2])
    evaluate(tiny_sd1, {"ablation": edit}, suite(), Brightness(), folder / "run")
    return folder


@pytest.fixture(scope="session")
def opened(tiny_sd1: "Model", root: Path) -> Callable[..., "Library"]:
    """`opened()` → the library of the run; `model` may be replaced."""

    def opened(model: "Callable[[], Model]" = lambda: tiny_sd1) -> "Library":
        from workbench.concepts import Concept
        from workbench.dashboard.opening import whole_library

        concepts = [Concept("fox", synonyms=["vixen"]), Concept("bear")]
        return whole_library(root / "run", [str(root / name) for name in SITES], concepts, model=model)

    return opened


@pytest.fixture(scope="session")
def library(opened: "Callable[..., Library]") -> "Library":
    return opened()
