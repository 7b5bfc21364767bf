"""What the commands of a whole story leave behind, made once by the commands themselves on a tiny random pipeline."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from workbench.cli.main import main

CONCEPTS = "fox:\n  anchor: cat\n  retain: [dog, bear]\n"
TRAIN = ("--k", "4", "--samples", "2048", "--d-sae", "64", "--set", "batch_size=64")


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the models `model` and `other`, prompts.txt, fox.yaml, and of `model`: `store`, `sae`, the edits
    `edit` (ItD) and `weights` (UCE)."""
    from tests.tiny_pipelines import save_tiny

    root = tmp_path_factory.mktemp("story")
    save_tiny("sd1", root / "model")
    save_tiny("sd2", root / "other")
    things = ("fox", "cat", "dog", "bear")
    prompts = [
        f"a {colour} {thing} {more}" for colour in ("red", "blue") for thing in things for more in ("", "by a cat")
    ]
    (root / "prompts.txt").write_text("\n".join(prompts * 4) + "\n")
    (root / "fox.yaml").write_text(CONCEPTS)
    for words in (
        ("harvest", root / "model", "text.1", "--prompts-file", root / "prompts.txt", "--out", root / "store"),
        ("train", root / "store", "text.1", "--out", root / "sae", *TRAIN),
        ("erase", root / "model", root / "fox.yaml", "--set", f"sae={root / 'sae'}", "--out", root / "edit"),
        ("erase", root / "model", root / "fox.yaml", "--method", "uce", "--out", root / "weights"),
    ):
        assert main([str(word) for word in words]) == 0, words
    return root


@pytest.fixture
def story(made: Path, tmp_path: Path) -> Callable[[str], Path]:
    """`story("sae")` → a copy of that part of `made`, to be damaged at will."""

    def copy(name: str) -> Path:
        return Path((shutil.copytree if (made / name).is_dir() else shutil.copy)(made / name, tmp_path / name))

    return copy
