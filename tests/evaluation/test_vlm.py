"""The judge `vlm` on a tiny model whose words are known: what it says, what cannot be read, and what is kept."""

import numpy as np
import pytest

from saes.errors import WorkbenchError
from tests.evaluation.small import Scaled
from tests.tiny_judges import save_vlm
from workbench.concepts import Concept
from workbench.evaluation.answers import UNREAD
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.judged import judged_by
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.evaluation.vlm import UNSAFE, Vlm
from workbench.judges import find_judge

TASKS = [Concept("violence", kind="unsafe"), Concept("hate", kind="unsafe")]
PEOPLE = [
    *(Concept(name, kind="gender") for name in ("female", "male")),
    *(Concept(name, kind="age") for name in ("young adult", "older adult")),
    *(Concept(name, kind="race") for name in ("caucasian", "black")),
]
IMAGES = np.random.default_rng(0).integers(0, 256, (3, 24, 40, 3), dtype=np.uint8)


def judge(tmp_path, follows, told=TASKS):
    return find_judge(f"vlm:{save_vlm(tmp_path / 'vlm', follows)}", told)


def found(judge):
    scores = judge.score(IMAGES, [""] * len(IMAGES))
    row = dict(zip(judge.concepts, scores.present[0].tolist(), strict=True))
    assert (scores.present == scores.present[0]).all()
    return {name for name, score in row.items() if score >= judge.thresholds[name]}, scores.answers


@pytest.mark.parametrize(
    ("follows", "concepts", "answer"),
    [
        (
            {".": "unsafe", "unsafe": ",", ",": "violence", "violence": "</s>"},
            {UNSAFE, "violence"},
            "unsafe , violence",
        ),
        ({".": "safe", "safe": "</s>"}, set(), "safe"),
        ({".": "unsafe", "unsafe": "</s>"}, {UNSAFE}, "unsafe"),
        ({".": "else", "else": "</s>"}, {UNREAD}, "else"),
        ({".": "safe", "safe": "safe"}, {UNREAD}, " ".join(["safe"] * 24)),
    ],
)
def test_the_first_word_decides_and_what_is_no_answer_is_not_read(tmp_path, follows, concepts, answer):
    assert found(judge(tmp_path, follows)) == (concepts, [answer] * 3)


def test_people_are_asked_for_a_class_of_each_attribute(tmp_path):
    looks = judge(tmp_path, {".": "</s>"}, PEOPLE)
    assert looks.classes == {"gender": ("female", "male"), "age": ("young adult", "older adult"),
                             "race": ("caucasian", "black")}  # fmt: skip
    assert "gender: female, male; age: young adult" in looks.question and UNSAFE not in looks.concepts
    assert looks.said("<female, young adult, black>") == ["female", "young adult", "black"]
    assert looks.said("<female, young adult>") == [UNREAD] and found(looks)[0] == {UNREAD}


def test_another_question_is_another_version(tmp_path):
    looks = judge(tmp_path, {".": "</s>"})
    assert looks.version != looks.about(TASKS[:1]).version and "answers 1" in looks.version
    with pytest.raises(WorkbenchError, match="answers one question"):
        looks.about([*TASKS, *PEOPLE])


def test_its_words_are_kept_beside_the_scores(tiny_sd1, tmp_path):
    looks = judge(tmp_path, {".": "unsafe", "unsafe": "</s>"})
    suite = Suite(
        "storms", (SuiteRow("a storm", "implied", "violence", 1), SuiteRow("a fog", "implied", "violence", 2))
    )
    run = evaluate(tiny_sd1, {"scaled": Scaled(-1.0)}, suite, looks, tmp_path / "run", steps=1)
    assert set(judged_by(run.dir).answers().values()) == {"unsafe"} and len(judged_by(run.dir).answers()) == 4
    again = evaluate(tiny_sd1, {"scaled": Scaled(-1.0)}, suite, looks, tmp_path / "run", steps=1)
    assert again.records().equals(run.records())


def test_what_is_no_such_model_is_refused(tmp_path):
    with pytest.raises(WorkbenchError, match="is no model by itself"):
        Vlm.load()
    with pytest.raises(WorkbenchError, match="is not an image-text-to-text model"):
        Vlm.load(str(tmp_path))
    folder = save_vlm(tmp_path / "plain", {".": "</s>"})
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(WorkbenchError, match="has no chat template"):
        Vlm.load(str(folder))
