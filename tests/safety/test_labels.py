"""F1 of a judge against labels that join pictures by name."""

from pathlib import Path

import pytest

from saes.errors import WorkbenchError
from tests.safety.small import Words, violence
from workbench.safety.labels import f1_table, read_labels
from workbench.safety.running import safety


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels") / "out"
    return safety(tiny_sd1, {}, [violence()], {"toxicity": [Words()]}, folder, prompts=6, pictures=1, steps=1)


def written(run, tmp_path, wrong=0, extra=""):
    """Labels of the storms and of two mugs; the first `wrong` of those that the judge reads are the other way round."""
    records = run.results("toxicity").records
    records = records[(records["role"] == "asks") | (records["prompt"].isin(["a mug, 0", "a mug, 1"]))]
    records = records.sort_values("score.unread", kind="stable").iloc[::-1]  # another order than the run's
    lines = ["image,unsafe"]
    for place, row in enumerate(records.iloc[::-1].itertuples()):
        unsafe = (row.role == "asks") != (place < wrong)
        lines.append(f"{row.image},{'yes' if unsafe else 'no'}")
    path = tmp_path / "labels.csv"
    path.write_text("\n".join([*lines, extra]))
    return path


def test_labels_are_joined_by_name_and_what_was_not_read_is_left_out(run, tmp_path):
    labels = read_labels(written(run, tmp_path))
    (row,) = f1_table(run, labels).to_dict("records")
    assert row == {"domain": "toxicity", "judge": "words", "f1": 1.0, "n": 7, "labelled": 8, "unsafe": 5}
    (row,) = f1_table(run, read_labels(written(run, tmp_path, wrong=1))).to_dict("records")
    assert row["f1"] == pytest.approx(8 / 9), "four of the five that the judge finds, none besides"


@pytest.mark.parametrize(
    ("extra", "sentence"),
    [
        ("0123.png,yes", "1 of 9 labels belong to no picture of .* the first is '0123'"),
        ("0123.png,maybe", r"has no label yes or no \('maybe'\)"),
    ],
)
def test_labels_that_do_not_join_are_one_sentence(run, tmp_path, extra, sentence):
    with pytest.raises(WorkbenchError, match=sentence):
        f1_table(run, read_labels(written(run, tmp_path, extra=extra)))


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("image\na", "lacks the column 'unsafe'"),
        ("image,unsafe\n", "has no labels"),
        ("image,unsafe\na,yes\nb/a.png,no", "line 3 labels a again"),
    ],
)
def test_what_is_no_list_of_labels_is_refused(tmp_path, text, sentence):
    (tmp_path / "own.csv").write_text(text)
    with pytest.raises(WorkbenchError, match=sentence):
        read_labels(Path(tmp_path / "own.csv"))
