"""`--dtype`: the model is loaded in it, what was made in it is filed under it, and edits know no precision."""

import json

import numpy as np
import pytest
import torch

from workbench.cli.main import main
from workbench.edits import load_edit
from workbench.evaluation.judges import Scores
from workbench.evaluation.runs import Run
from workbench.models import Model, load
from workbench.toy.oracle import KINDS

HALF = ("--dtype", "bfloat16")


class Credulous:
    """Sees everything in every picture: those of a random model show nothing."""

    name, version, concepts, thresholds, validated = "credulous", "1", KINDS, dict.fromkeys(KINDS, 0.5), "nowhere"

    def score(self, images, prompts=()):
        return Scores(np.ones((len(images), len(KINDS)), np.float32), None, None)


@pytest.fixture
def loaded(monkeypatch):
    """The dtypes of the weights of each model that commands load, for a judge that any model satisfies."""
    import workbench as wb

    seen: list[set[torch.dtype]] = []

    def watched(*given, **named) -> Model:
        model = load(*given, **named)
        parts = (part for part in model.pipe.components.values() if isinstance(part, torch.nn.Module))
        seen.append({one.dtype for part in parts for one in part.parameters()})
        return model

    monkeypatch.setattr(wb, "load", watched)
    monkeypatch.setattr("workbench.judges.find_judge", lambda words, *_: Credulous())
    return seen


def ran(capsys, *words):
    code = main([str(word) for word in words])
    shown = capsys.readouterr()
    assert code == 0, shown.err
    return shown.out


def test_an_edit_that_was_fitted_in_half_precision_is_one_of_the_same_model(capsys, made, tmp_path, loaded):
    ran(capsys, "erase", made / "model", made / "fox.yaml", "--method", "uce", *HALF, "--out", tmp_path / "edit")
    assert loaded == [{torch.bfloat16}]
    half, whole = load_edit(tmp_path / "edit"), load_edit(made / "weights")
    assert half.base_fingerprint == whole.base_fingerprint
    for name in whole.names:
        assert half.delta(name).dtype == torch.float32
        assert (half.delta(name) - whole.delta(name)).norm() < 0.1 * whole.delta(name).norm()


@pytest.mark.slow
def test_pictures_of_another_precision_are_other_pictures(capsys, made, tmp_path, loaded):
    words = ("evaluate", made / "model", made / "fox.yaml", "--edit", made / "weights", "--per-role", 1, "--json")
    ran(capsys, *words, "--out", tmp_path / "half", *HALF)
    ran(capsys, *words, "--out", tmp_path / "whole")
    assert loaded == [{torch.bfloat16}, {torch.float32}]
    half, whole = (Run.open(tmp_path / name).spec for name in ("half", "whole"))
    assert half.cells() and not {*half.cells()} & {*whole.cells()}
    assert main([str(word) for word in (*words, "--out", tmp_path / "half")]) == 1
    assert "another" in capsys.readouterr().err


@pytest.mark.slow
def test_methods_are_compared_in_half_precision(capsys, made, tmp_path, loaded):
    words = ("compare", made / "model", made / "fox.yaml", "--method", "uce", "--per-role", 1, "--steps", 2)
    rows = json.loads(ran(capsys, *words, *HALF, "--out", tmp_path / "run", "--json"))
    assert loaded == [{torch.bfloat16}] and {row["condition"] for row in rows} > {"UCE", "unedited"}


@pytest.mark.parametrize("command", ["erase", "evaluate", "compare", "bake"])
def test_an_unknown_precision_is_wrong_usage(capsys, made, tmp_path, command):
    words = [command, made / "model", made / "fox.yaml", "--dtype", "float8", "--out", tmp_path / "new"]
    assert main([str(word) for word in words]) == 2
    assert "float32" in capsys.readouterr().err and not (tmp_path / "new").exists()
