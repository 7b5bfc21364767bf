"""What every test needs before torch is loaded: one thread (the tensors are tiny), no network, no wait for the disk."""

import os
from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from workbench.models import Janus, Model

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["WANDB_MODE"] = "disabled"
os.fsync = lambda descriptor: None  # takes a quarter of the tests' time; a kill loses nothing by it, a power cut would


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test of a GPU is skipped, and listed as such, where there is none. Names are the same in every process, so
    that several can share the tests."""
    assert not [item.nodeid for item in items if " at 0x" in item.nodeid], "give these parameters names (ids=…)"
    asked = [item for item in items if item.get_closest_marker("gpu")]
    if asked:
        import torch

        for item in asked:
            item.add_marker(pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU"))


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], "Model"]:
    """`tiny("sdxl")` → a loaded model of that architecture with random weights; one for the whole session."""

    @cache
    def loaded(kind: str) -> "Model":
        from tests.tiny_pipelines import save_tiny
        from workbench.models import load

        return load(save_tiny(kind, tmp_path_factory.mktemp(kind) / kind), device="cpu")

    return loaded


@pytest.fixture(scope="session")
def tiny_sd1(tiny: Callable[[str], "Model"]) -> "Model":
    return tiny("sd1")


@pytest.fixture(scope="session")
def tiny_sd2(tiny: Callable[[str], "Model"]) -> "Model":
    return tiny("sd2")


@pytest.fixture(scope="session")
def tiny_sdxl(tiny: Callable[[str], "Model"]) -> "Model":
    return tiny("sdxl")


@pytest.fixture(scope="session")
def tiny_sd3(tiny: Callable[[str], "Model"]) -> "Model":
    return tiny("sd3")


@pytest.fixture(scope="session")
def tiny_flux(tiny: Callable[[str], "Model"]) -> "Model":
    return tiny("flux")


@pytest.fixture(scope="session")
def tiny_janus(tmp_path_factory: pytest.TempPathFactory) -> "Janus":
    """With a chat template, as the published ones."""
    from tests.tiny_janus import TEMPLATE, save_tiny_janus
    from workbench.models import load

    return load(save_tiny_janus(tmp_path_factory.mktemp("janus") / "janus", TEMPLATE), device="cpu")
