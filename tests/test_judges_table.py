"""Judges by name, those of other packages among them."""

import sys

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.tiny_encoders import save_clip
from workbench.concepts import Concept
from workbench.evaluation.judges import Judge
from workbench.judges import JUDGES, find_judge, judges

PACKAGE = """
import numpy as np
from workbench.evaluation.judges import Scores

class Grey:
    name, version, validated = "grey", "1", ""
    concepts, thresholds = {"fox": "object"}, {"fox": 0.5}

    def __init__(self, level): self.level = level

    @classmethod
    def load(cls, argument): return cls(float(argument or 0))

    def score(self, images, prompts):
        return Scores(np.full((len(images), 1), self.level, np.float32))

class Not:
    @classmethod
    def load(cls, argument): return cls()
"""


@pytest.fixture
def package(tmp_path, monkeypatch):
    (tmp_path / "grey_judge.py").write_text(PACKAGE)
    info = tmp_path / "grey_judge-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grey-judge\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[workbench.judges]\ngrey = grey_judge:Grey\nnot = grey_judge:Not\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("grey_judge", None)


OF_A_MODEL = ("vlm", "classifier")  # judges that are none without the model that is named after the colon


@pytest.mark.parametrize("name", [name for name in JUDGES if name not in OF_A_MODEL])
def test_every_name_leads_to_a_judge(name):
    if name == "nudenet":
        pytest.importorskip("nudenet")
    assert isinstance(find_judge(name), Judge)


@pytest.mark.parametrize("name", OF_A_MODEL)
def test_a_judge_that_is_any_model_asks_which(name):
    with pytest.raises(WorkbenchError, match=f"Name one: {name}:FOLDER"):
        find_judge(name)


def test_a_judge_of_an_open_vocabulary_is_told_what_it_will_be_asked_about(tmp_path):
    told = find_judge(f"clip:{save_clip(tmp_path / 'tiny')}", [Concept("fox"), Concept("by dawn", kind="style")])
    assert told.concepts == {"fox": "object", "by dawn": "style"}


def test_a_package_adds_a_judge_that_takes_an_argument(package):
    assert set(judges()) == {*JUDGES, "grey", "not"}
    grey = find_judge("grey:0.25")
    assert grey.score(np.zeros((2, 4, 4, 3), np.uint8), ["", ""]).present.tolist() == [[0.25], [0.25]]


def test_what_cannot_judge_is_refused(package, tmp_path):
    with pytest.raises(WorkbenchError, match=r"Unknown judge 'gray'\. Did you mean 'grey'"):
        find_judge("gray")
    with pytest.raises(WorkbenchError, match="The judge Not has no 'name'"):
        find_judge("not")
    with pytest.raises(WorkbenchError, match="There is no oracle in"):
        find_judge(f"toy:{tmp_path}")
