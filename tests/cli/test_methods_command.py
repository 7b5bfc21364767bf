"""`workbench methods` shows what was measured: the figures that lie beside the weights."""

import json

import pytest

from workbench.cli.main import main
from workbench.cli.methods import MEASURED, measurements, rates_of, strongest, toy_settings
from workbench.comparison.measured import read_measured
from workbench.erasure import METHODS, find_method
from workbench.fitting.blueprints import blueprint_of
from workbench.knobs import knobs
from workbench.models import load
from workbench.models.provenance import networks
from workbench.toy import path

MEMORY = ("model", "method", "parameters", "copies", "moments", "gradients", "activations", "peak")
RATE = {"value": 0.5, "low": 0.4, "high": 0.6, "n": 200}
ROW = {
    "condition": "SPM", "method": "spm", "efficacy": RATE, "generality": None, "implied_efficacy": None,
    "neighbour_specificity": RATE, "unrelated_specificity": RATE,
}  # fmt: skip


def test_rates_are_per_cents_with_intervals():
    (row,) = rates_of([ROW])
    assert row == {
        "condition": "SPM", "method": "spm", "efficacy": "50 (40–60)", "near kept": "50 (40–60)",
        "far kept": "50 (40–60)", "post-ASR": "n/a",
    }  # fmt: skip
    none = rates_of([ROW, {**ROW, "condition": "unedited", "method": "", "efficacy": None}])[1]
    assert none["method"] is none["efficacy"] is None


def test_the_strongest_attack_is_named_with_what_it_brings_back():
    strong = {**RATE, "value": 0.9, "high": 1.0, "new_seeds": 0.9, "succeeds": False}
    weak = {**RATE, "new_seeds": 0.1, "succeeds": True}
    assert strongest({"cce": strong, "replay": weak}) == "50 (40–60) by replay", "luck brings back as much as cce"
    assert strongest({"cce": strong}) == "90 (40–100) by cce, no more than luck"
    assert strongest({}) == strongest(None) == "n/a"
    (row,) = rates_of([{**ROW, "post_asr": {"replay": weak}}])
    assert row["post-ASR"] == "50 (40–60) by replay"


def test_a_setting_says_for_which_model_its_default_holds_and_what_the_toy_has(capsys):
    assert main(["methods", "trce", "--json"]) == 0
    rows = {row["setting"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["lr"]["default"], rows["lr"]["toy"]) == ("1e-06", "0.0003") and rows["epochs"]["toy"] is None
    assert main(["methods", "trce"]) == 0
    told = capsys.readouterr().out
    assert "default: for Stable Diffusion, as published" in told and "for the embedded model" in told
    assert "at its settings" in MEASURED


@pytest.mark.parametrize(
    ("method", "setting", "said"),
    [
        ("itd", "sae", "text.8, 2^19 latents, k 64"),
        ("detect_replace", "sae", "text.8, 2^19 latents, k 64"),
        ("saeuron", "sae", "unet.up.1.1 for objects, unet.up.1.2 for styles, 20480 latents each, k 32"),
        ("steerer", "sae", "text.9, 3072 latents, k 32"),
    ],
)
def test_methods_that_need_an_autoencoder_name_the_papers(method, setting, said):
    (what,) = [knob.what for knob in knobs(find_method(method)) if knob.setting == setting]
    assert said in what


def test_what_was_chosen_on_the_toy_stands_in_its_file_and_the_defaults_are_published():
    chosen = {"trce": {"preserve_scale", "damping", "lr"}, "realera": {"lora_lr"}, "saeuron": {"sae", "percentile"}}
    for method, settings in chosen.items():
        assert settings <= set(toy_settings(method))
    assert toy_settings("uce") == toy_settings("steerer") == toy_settings("negative_prompt") == {}
    assert find_method("saeuron")().multiplier == -1.0 and find_method("realera")().lora_lr == 1e-5


def test_reconstructions_are_marked_in_every_table_and_explained(capsys):
    row = rates_of([{**ROW, "method": "realera"}])[0]
    assert row["method"] == "realera (reconstructed)"
    assert main(["methods"]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = ["".join(lines[place : place + 2]) for place in range(len(lines))]  # a cell may take two lines
    assert [row for row in rows if "2410.09140" in row and "(reconstructed)" in row]
    assert not [row for row in rows if "2308.14761" in row and "(reconstructed)" in row]
    assert main(["methods", "realera"]) == 0 and "no code is public" in capsys.readouterr().out
    assert main(["methods", "uce"]) == 0 and "reconstruction" not in capsys.readouterr().out
    assert main(["methods", "--json"]) == 0
    found = {row["method"]: row["reconstructed"] for row in json.loads(capsys.readouterr().out)}
    assert "no code" in found["all_but_one"] and found["esd"] == ""


@pytest.mark.parametrize("found", [[], [ROW]])
def test_a_method_is_shown_with_its_figures_or_it_is_said_that_there_are_none(capsys, monkeypatch, found):
    monkeypatch.setattr("workbench.cli.methods.measurements", lambda: found)
    assert main(["methods", "--json"]) == 0
    rows = {row["method"]: row["measured"] for row in json.loads(capsys.readouterr().out)}
    assert rows == {name: [row for row in found if row["method"] == name] for name in METHODS}
    assert main(["methods"]) == 0
    told = capsys.readouterr().out
    assert ("Measured on the toy" in told) == bool(found) and ("No method was measured" in told) != bool(found)


def test_what_is_shown_is_what_lies_beside_the_weights():
    assert measurements() == read_measured(path().parent)["rows"]


def test_memory_is_told_for_each_size_of_model_in_gib(capsys, monkeypatch):
    """The toy's sizes stand for the published ones, which take a minute."""
    model = load("toy", device="cpu")
    monkeypatch.setattr("workbench.fitting.blueprints.PUBLISHED", {"small": blueprint_of(model)})
    assert main(["methods", "realera", "--memory", "--json"]) == 0
    drawing, row = json.loads(capsys.readouterr().out)
    assert list(row) == [*MEMORY, "activations, save_memory", "peak, save_memory"] == list(drawing)
    assert (row["model"], row["method"]) == ("small", "realera") and drawing["method"] == "16 pictures drawn at once"
    parameters = sum(one.numel() for _, part in networks(model.pipe) for one in part.parameters())
    assert row["parameters"] == pytest.approx(2 * parameters / 2**30, rel=0.01)
    assert row["peak, save_memory"] < row["peak"] and drawing["peak"] > row["parameters"]
    assert main(["methods", "uce", "--memory"]) == 0
    told = capsys.readouterr().out
    assert "By arithmetic" in told and "not measured" in told and "uce" not in told
