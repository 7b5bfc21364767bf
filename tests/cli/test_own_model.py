"""A stranger's checkpoint: the toy's pipeline, copied to a folder of another name, through every command that takes a
model, with a CLIP of one's own as the judge. Nothing may know that it is the toy."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from workbench import toy
from workbench.cli.main import main
from workbench.evaluation.calibration import FILE as CALIBRATED
from workbench.lists import read_list

FOX = ("--kind", "object", "--anchor", "cat", "--retain", "car")
ASKING = "a {} on a table\na red {}\na small {} at night\na drawing of a {}\n"
OTHERS = "prompt,expected\na red mug,mug\na blue church,church\n"
STUDY = """
question: Is it there?
model: {model}
concept: {root}/fox.yaml
sparing: [cat]
claim: necessary
subject: {{layers: [text.1]}}
prompts: [a red fox, a small fox]
seeds: 1
doses: [1]
controls: 1
"""


class Stranger:
    """A model, a judge and a concept in a folder, and the commands that are run on them."""

    def __init__(self, root: Path) -> None:
        self.root, self.model, self.clip = root, root / "checkpoint", root / "sees"
        shutil.copytree(toy.path(), self.model)
        shutil.copytree(toy.path().parent / "clip", self.clip, ignore=shutil.ignore_patterns(CALIBRATED))
        (root / "fox.yaml").write_text("fox: {anchor: cat, retain: [car]}\n")
        (root / "asking.txt").write_text(ASKING)
        (root / "others.csv").write_text(OTHERS)
        (root / "words.txt").write_text("car\npear\nmug\n")
        things = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("fox", "cat", "car", "pear", "mug")]
        (root / "prompts.txt").write_text("\n".join(things * 8))
        self.judge = ("--judge", f"clip:{self.clip}")

    def __truediv__(self, name: str) -> Path:
        return self.root / name

    def ran(self, command: str, *words: object) -> None:
        """Runs a command on the checkpoint."""
        self.plain(command, self.model, *words)

    def plain(self, *words: object) -> None:
        assert main([str(word) for word in words]) == 0, words


@pytest.fixture(scope="module")
def stranger(tmp_path_factory):
    """With a suite, a store, an autoencoder and two edits, made by their commands."""
    own = Stranger(tmp_path_factory.mktemp("stranger"))
    asked = ("--prompts-file", own / "asking.txt", "--unrelated", own / "others.csv", "--per-role", 2)
    own.ran("suite", "fox", *FOX, "--among", own / "words.txt", "--near", 1, *asked, "--out", own / "fox.csv")
    own.ran("harvest", "text.1", "--prompts-file", own / "prompts.txt", "--out", own / "store")
    sizes = ("--k", 4, "--samples", 2048, "--d-sae", 64, "--set", "batch_size=64")
    own.plain("train", own / "store", "text.1", "--out", own / "sae", *sizes)
    own.ran("erase", "fox", *FOX, "--method", "itd", "--set", f"sae={own / 'sae'}", "--out", own / "features")
    own.ran("erase", "fox", *FOX, "--method", "uce", "--out", own / "weights")
    return own


def about(own):
    """The concept, by a file or by options alike, with its suite and judge."""
    return ("--suite", own / "fox.csv", *own.judge)


@pytest.mark.slow
def test_the_suite_asks_for_all_roles_and_its_near_word_is_untold(stranger):
    rows = read_list(stranger / "fox.csv").records
    assert {row.fields["role"] for row in rows} == {"target", "anchor", "told", "neighbour", "unrelated"}
    assert {row.fields["expected"] for row in rows if row.fields["role"] == "neighbour"} <= {"pear", "mug"}


@pytest.mark.slow
def test_sites_plan_generate_find_and_export(stranger):
    stranger.ran("sites")
    stranger.ran("plan", "--method", "uce")
    stranger.ran("generate", "a red fox", "--count", 1, "--steps", 2, "--edit", stranger / "weights",
                 "--out", stranger / "images")  # fmt: skip
    stranger.ran("find", "fox", *FOX, "--sae", stranger / "sae")
    stranger.ran("neighbours", "fox", *FOX, "--among", stranger / "words.txt")
    stranger.ran("export", stranger / "weights", "--out", stranger / "lora")
    stranger.plain("edits", "show", stranger / "weights", "--model", stranger.model)
    assert (stranger / "images/000-0.png").is_file() and (stranger / "lora").is_dir()
    stranger.ran("generate", "a red fox", "--count", 1, "--steps", 2, "--lora", stranger / "lora",
                 "--out", stranger / "with-lora")  # fmt: skip
    edited, with_lora = (np.asarray(Image.open(stranger / name / "000-0.png")) for name in ("images", "with-lora"))
    assert np.abs(edited.astype(int) - with_lora).max() <= 1  # an export is the edit, and `--lora` puts it in


@pytest.mark.slow
def test_a_baked_checkpoint_draws_what_the_edited_one_draws(stranger):
    stranger.ran("bake", stranger / "weights", "--out", stranger / "baked")
    how = ("a red fox", "--count", 1, "--steps", 2)
    stranger.ran("generate", *how, "--edit", stranger / "weights", "--out", stranger / "edited-images")
    stranger.plain("generate", stranger / "baked", *how, "--out", stranger / "baked-images")
    one, other = (Path(stranger / name / "000-0.png").read_bytes() for name in ("edited-images", "baked-images"))
    assert one == other


@pytest.mark.slow
def test_evaluate_report_runs_and_dashboard(stranger, capsys):
    how = ("--edit", stranger / "weights", "--no-controls", *about(stranger))
    stranger.ran("evaluate", "fox", *FOX, *how, "--out", stranger / "run", "--json")
    assert {row["condition"] for row in json.loads(capsys.readouterr().out)} >= {"weights"}
    stranger.plain("report", stranger / "run")
    stranger.plain("runs", stranger / "run")
    stranger.plain("dashboard", stranger / "run", "--sae", stranger / "sae", "--export", stranger / "board")
    assert (stranger / "board/index.html").is_file()


@pytest.mark.slow
def test_compare_attack_and_study(stranger):
    methods = ("--method", "uce", "--method", "negative_prompt")
    stranger.ran("compare", "fox", *FOX, *methods, "--steps", 2, *about(stranger), "--out", stranger / "comparison")
    stranger.ran("attack", "fox", *FOX, "--edit", stranger / "weights", "--images", 2, *about(stranger),
                 "--out", stranger / "attacks")  # fmt: skip
    (stranger / "study.yaml").write_text(STUDY.format(model=stranger.model, root=stranger.root))
    stranger.plain("study", "run", stranger / "study.yaml", *stranger.judge, "--out", stranger / "studies")
    assert (stranger / "comparison/report.html").is_file() and (stranger / "studies/study/report.html").is_file()


@pytest.mark.slow
def test_safety_asks_everyday_prompts_of_it(stranger):
    stranger.ran("safety", "--only", "fairness", "--per-task", 2, "--pictures", 1, *stranger.judge,
                 "--out", stranger / "safety")  # fmt: skip
    assert (stranger / "safety/safety.html").is_file()
