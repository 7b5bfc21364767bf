"""`workbench attack` and `workbench attacks`: a run with attacked rows, a table of it, and what is refused before."""

import json
import re

import numpy as np
import pytest
from PIL import Image

from tests.cli.test_judge_option import Keen, told
from workbench.attacks import ATTACKS
from workbench.attacks.attempts import read_attempts
from workbench.cli.main import main
from workbench.evaluation.runs import Run
from workbench.judges import JUDGES

SUITE = "prompt,evaluation_seed,role,expected\na fox,1,target,fox\na red fox,2,target,fox\na cat,3,neighbour,cat\n"


@pytest.fixture
def words(made, tmp_path, monkeypatch):
    monkeypatch.setitem(JUDGES, "keen", f"{Keen.__module__}:Keen")
    (tmp_path / "fox.csv").write_text(SUITE)
    (tmp_path / "steps.yaml").write_text("")
    return ("attack", made / "model", made / "fox.yaml", "--edit", made / "weights", "--suite", tmp_path / "fox.csv",
            "--judge", "keen", "--out", tmp_path / "run")  # fmt: skip


def test_attacked_rows_are_made_judged_and_printed(words, tmp_path, capsys):
    own = ("--attack", "replay", "--attack", "noised", "--set", "replay.wordings=[dog]", "--set", "replay.misspelt=0")
    out, err = told(capsys, *words, *own, "--images", 2, "--transfer", "--never-known", "dog", "--json")
    rows = json.loads(out)
    assert {(row["condition"], row["attack"]) for row in rows if not row["of_never_known"]} == {
        (condition, attack) for condition in ("unedited", "weights", "no-op") for attack in ("replay", "noised")
    }
    assert all(row["pre"] == row["post"] == 1 for row in rows), "the judge sees everything everywhere"
    assert "workbench report" in err
    run = Run.open(tmp_path / "run")
    assert {row.role for row in run.spec.trials[0].rows} >= {"target", "replay", "noised, new seeds"}
    assert "a cat" not in {row.prompt for row in run.spec.trials[0].rows}, "only rows about the target are attacked"
    assert set(read_attempts(run.dir)["attack"]) == {"replay", "noised"}
    out, _ = told(capsys, *words, *own, "--images", 2, "--transfer", "--never-known", "dog")
    assert re.search(r"weights\s+replay\s+100 \(\d+–100\)", out)
    told(capsys, "report", tmp_path / "run", "--out", tmp_path / "report.html")


def test_what_was_found_replays_as_a_suite(words, made, tmp_path, capsys):
    own = ("--attack", "replay", "--set", "replay.wordings=[dog]", "--images", 1, "--no-controls")
    _, err = told(capsys, *words, *own)
    assert "workbench suite" in err
    out, err = told(capsys, "suite", tmp_path / "run", "--against", "weights", "--out", tmp_path / "suite")
    assert "2 prompts (text 2)" in out and f"--suite {tmp_path / 'suite'}" in err
    given = ("--edit", made / "weights", "--suite", tmp_path / "suite", "--judge", "keen", "--out", tmp_path / "again")
    out, _ = told(capsys, "evaluate", made / "model", made / "fox.yaml", *given, "--no-controls", "--json")
    rows = {(row["condition"], row["metric"]): row for row in json.loads(out)}
    assert rows["weights", "replay_efficacy"]["value"] == 0, "the judge sees everything everywhere"
    told(capsys, "report", tmp_path / "again", "--out", tmp_path / "report.html")
    assert main(["suite", str(tmp_path / "again"), "--out", str(tmp_path / "more")]) == 1
    assert "Nothing was attacked" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (["--images", "0"], "A budget of 0 images and 400 gradients is none. Give 1 image or more."),
        (["--attack", "reply"], "Unknown attack 'reply'. Did you mean 'replay'"),
        (["--attack", "replay", "--attack", "replay"], r"named twice \(replay, replay\). Name each once."),
        (["--set", "noised.starts=[0.5]"], "'noised.starts' is no setting of an attack here. Write"),
        (["--set", "replay.wording=[a]"], "attack replay: .* Did you mean 'wordings'"),
        (["--pictures", "{tmp}"], "None of these attacks takes pictures .* Leave --pictures out."),
        (["--attack", "noised", "--pictures", "{tmp}"], r"There is no picture of fox in .*\. Put some "),
        (["--attack", "relearn", "--gradients", "5"], "less than the 10 steps after which it is looked. Give more"),
        (["--attack", "ring_a_bell", "--set", "ring_a_bell.variant=ga", "--set", "ring_a_bell.tokens=20"],
         "20 tokens do not fit into a prompt of 12. Choose 10 or fewer."),
        (["--attack", "unlearn_diff_atk", "--set", "unlearn_diff_atk.tokens=10"],
         r"A prompt of \d tokens has no room for 10 more: .* reads 10. Choose \d free tokens or fewer, or shorter"),
        (["--never-known", "unicorn", "--judge", "toy"], "Unknown concept .*unicorn"),
    ],
    ids=["budget", "attack", "twice", "setting", "key", "no pictures", "no picture", "steps", "tokens", "prefix",
         "judge"],
)  # fmt: skip
def test_bad_input_is_a_sentence_before_any_work(words, more, says, tmp_path, capsys):
    given = [str(word) for word in words if not ("toy" in more and word in ("--judge", "keen"))]
    assert main([*given, *(one.format(tmp=tmp_path) for one in more)]) == 1
    error = capsys.readouterr().err
    assert re.search(says, error), error
    assert "fault of the workbench" not in error and not (tmp_path / "run").exists()


def test_pictures_go_to_attacks_that_take_them(words, made, tmp_path, capsys):
    (tmp_path / "shown").mkdir()
    picture = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    Image.fromarray(picture).save(tmp_path / "shown/fox.png")
    own = ("--attack", "noised", "--pictures", tmp_path / "shown", "--images", 1, "--no-controls")
    out, _ = told(capsys, *words, *own, "--json")
    assert {row["attack"] for row in json.loads(out)} == {"noised"}


def test_attacks_are_listed_and_their_settings_explained(capsys):
    assert main(["attacks", "--json"]) == 0
    rows = {row["attack"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows.keys() == ATTACKS.keys()
    assert rows["ring_a_bell"]["paper"] == "arXiv:2310.10012" and rows["replay"]["needs"] == "prompts"
    assert (rows["replay"]["models"], rows["latent"]["models"]) == ("all", "sd1, sd2, sdxl")
    assert "janus" in rows["p4d"]["models"] and "janus" not in rows["ring_a_bell"]["models"]
    assert main(["attacks", "noised", "--json"]) == 0
    settings = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    assert settings["starts"]["default"] == "[0.9, 0.7, 0.5]" and "t₀" in settings["starts"]["what"]
