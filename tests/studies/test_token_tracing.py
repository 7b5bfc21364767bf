"""Causal tracing in a Janus: what it must find where the answer is known."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness
from tests.tiny_janus import LAYERS, SIDE
from workbench.hooks import Place
from workbench.interpret.attribution.likelihood import log_likelihood
from workbench.reports.tracing import trace_report
from workbench.studies.drawn_tracing import DRAWN, drawn_trace
from workbench.studies.token_tracing import trace_tokens
from workbench.studies.traced import TraceFile, TraceResult, run_trace
from workbench.studies.transplants import donors, parts, transplant

PROMPTS = ("a red fox by a cat", "the blue fox", "a photo of a fox")
OTHERS = ("bear", "dog")
LAST = f"lm.{LAYERS - 1}"
ROWS = [f"row {row + 1}" for row in range(SIDE)]


@pytest.fixture(scope="module")
def table(tiny_janus):
    found = trace_tokens(tiny_janus, PROMPTS, "fox", OTHERS, ["lm.in", "lm.0", LAST, "head.in"], guidance_scale=1.0)
    return found.set_index(["site", "token"])


def test_likelihoods_are_those_of_the_tokens(tiny_janus):
    codes = tiny_janus.sample_codes("a fox", [1, 2])
    found = log_likelihood(tiny_janus, codes, "a fox")
    logits = tiny_janus.logits(codes, "a fox").detach()
    for row, cell in ((0, 0), (1, 5)):
        expected = torch.distributions.Categorical(logits=logits[row, cell]).log_prob(codes[row, cell])
        assert_close(found[row, cell], expected)


def test_before_the_first_layer_the_word_is_all_there_is(table):
    found = table.loc["lm.in"]
    assert found.restored["the word"] == pytest.approx(1, abs=1e-4)
    others = found.drop(index="the word")
    assert (others[["restored", "control"]].abs() < 1e-4).all(axis=None) and found.control["the word"] < 0.9


def test_after_the_last_layer_the_picture_is_all_there_is_and_adds_up_to_1(table):
    for site in (LAST, "head.in"):
        found = table.loc[site]
        drawn = found.loc[["begin of image", *ROWS]]
        assert drawn.restored.sum() == pytest.approx(1, abs=1e-3) and (found.control < 0.9).all()
        text = found.drop(index=drawn.index)
        assert (text[["restored", "control"]].abs() < 1e-4).all(axis=None)
    assert "the word" not in table.loc["head.in"].index, "the image head never sees it"


def test_what_stands_before_the_word_does_not_know_it(table):
    assert abs(table.restored["lm.0", "before"]) < 1e-4
    inner = [table.restored["lm.0", part] for part in ("the word", "begin of image", *ROWS)]
    assert max(inner) < 1 - 1e-4 and table.restored["lm.0", "the word"] > 0.01


def test_intervals_hold_their_shares(table):
    assert (table["low"] <= table["restored"] + 1e-9).all() and (table["restored"] <= table["high"] + 1e-9).all()
    assert (table["control_low"] <= table["control"] + 1e-9).all() and table["step"].isna().all()


def test_every_position_but_the_begin_token_is_in_one_part(tiny_janus):
    codes = tiny_janus.sample_codes(list(PROMPTS), [0, 1, 2])
    tokens = donors(tiny_janus, tiny_janus.site("lm.0"), codes, list(PROMPTS)).tokens
    word = [range(5, 6), range(7, 8), range(6, 7)]
    for side in (0, SIDE):
        total = sum(mask.int() for mask in parts(tokens, word, side).values())
        outside = (tokens.places == Place.BEGIN) | (tokens.places == Place.ABSENT)
        assert torch.equal(total, (~outside).int())
    cells = parts(tokens, word, SIDE)
    assert [int(cells[row].sum()) for row in ROWS] == [3 * SIDE] * (SIDE - 1) + [3 * (SIDE - 1)], "the last is not read"


def test_a_whole_transplant_is_the_clean_run_in_one_pass_and_token_by_token(tiny_janus):
    clean, corrupted = ["a fox by a cat", "a fox"], ["a dog by a cat", "a bear"]
    codes = tiny_janus.sample_codes(clean, [3, 4])
    site, word = tiny_janus.site("lm.in"), [range(4, 5)] * 2
    donor = donors(tiny_janus, site, codes, clean)
    edit = transplant(site, donor, "the word", word)
    with tiny_janus.session(edits=[edit]):
        assert_close(log_likelihood(tiny_janus, codes, corrupted), log_likelihood(tiny_janus, codes, clean))
        drawn = tiny_janus.sample_codes(corrupted, [3, 4])
    assert torch.equal(drawn, codes) and not torch.equal(tiny_janus.sample_codes(corrupted, [3, 4]), codes)
    every = transplant(tiny_janus.site(LAST), donors(tiny_janus, tiny_janus.site(LAST), codes, clean), "picture", word)
    start = transplant(tiny_janus.site(LAST), donors(tiny_janus, tiny_janus.site(LAST), codes, clean),
                       "begin of image", word)  # fmt: skip
    with tiny_janus.session(edits=[every, start]):
        assert torch.equal(tiny_janus.sample_codes(corrupted, [3, 4]), codes), "each cell has its own donor"


def test_pictures_under_a_patch_are_counted_by_a_judge(tiny_janus):
    """Before the first layer the word's own activation makes the clean picture; what comes before it, the corrupted."""
    clean = {image.tobytes() for image in tiny_janus.generate(list(PROMPTS), [5, 6, 7])}

    def shows(images):
        return np.array([image.tobytes() in clean for image in images])

    found = drawn_trace(tiny_janus, PROMPTS, "fox", OTHERS, ["lm.in"], shows, seed=5).set_index("token")
    assert list(found.reset_index()) == ["token", *(name for name in DRAWN if name != "token")]
    assert (found.clean == 1).all() and (found.corrupted == 0).all()
    assert found.shown["the word"] == 1 and found.control["the word"] == 0 and found.low["the word"] < 1
    assert (found.shown[["before", "after", "template", "begin of image"]] == 0).all()


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"others": ["Fox", "cat"]}, "corrupts 'fox' with itself"),
        ({"others": ["cat", "cat"]}, "needs two other words"),
        ({"prompts": []}, "no prompts to trace"),
        ({"sites": ["lm.9"]}, r"Unknown site 'lm\.9'"),
        ({"others": ["red dog", "cat"]}, "tokens where the concept's own prompt has"),
        ({"steps": 4}, "Unknown sampling setting 'steps'"),
    ],
)
def test_a_trace_that_can_show_nothing_is_refused_before_any_picture(tiny_janus, told, said):
    asked = {"prompts": ["the blue fox"], "word": "fox", "others": ["cat", "dog"], "sites": ["lm.0"], **told}
    with pytest.raises(WorkbenchError, match=said):
        trace_tokens(tiny_janus, **asked)


def test_where_the_word_makes_no_difference_nothing_can_be_restored(tiny_janus):
    """Pictures that are guided away from the prompt are less likely with it."""
    with pytest.raises(WorkbenchError, match="no likelier with it than with other words"):
        trace_tokens(tiny_janus, ["a fox", "a red fox"], "fox", OTHERS, ["lm.0"], guidance_scale=-3.0)


def said(**changed):
    told = {
        "question": "Where?", "model": "x", "concept": "fox", "sparing": ("bear", "dog"), "claim": "traced",
        "sites": ("lm.in", "lm.0"), "prompts": PROMPTS,
    }  # fmt: skip
    return TraceFile(**told | changed)


def test_a_trace_is_kept_read_again_and_reported(tiny_janus, tmp_path):
    made = run_trace(tiny_janus, said(), tmp_path / "out")
    assert "“the word”" in made.sentence and "lm.in" in made.sentence and not len(made.drawn)
    stamp = (tmp_path / "out/trace.json").stat().st_mtime_ns
    assert run_trace(tiny_janus, said(), tmp_path / "out").table.equals(made.table)
    assert (tmp_path / "out/trace.json").stat().st_mtime_ns == stamp
    page = trace_report(TraceResult.open(tmp_path / "out"), tmp_path / "page.html").read_text()
    assert all(text in page for text in ("By layer and position", 'id="token-trace"', "log-likelihood", "row 4"))
    assert "denoising" not in page and "What is drawn" not in page


def test_a_judged_trace_shows_what_is_drawn(tiny_janus, tmp_path):
    asked, judge = said(judged=True, sites=("lm.in",)), Brightness(threshold=0.5)
    made = run_trace(tiny_janus, asked, tmp_path / "out", judge=judge)
    clean = judge.score(tiny_janus.generate(list(PROMPTS), range(3)), PROMPTS).present[:, 0] >= 0.5
    drawn = made.drawn.set_index("token")
    assert (drawn.clean == clean.mean()).all() and drawn.shown["the word"] == clean.mean()
    page = trace_report(made, tmp_path / "page.html").read_text()
    assert all(f'id="{name}"' in page for name in ("drawn", "drawn-control")) and "brightness 1" in page


def test_what_this_kind_of_model_has_not_is_refused(tiny_janus, tiny_sd1, tmp_path):
    with pytest.raises(WorkbenchError, match="`steps` are those of a denoising"):
        run_trace(tiny_janus, said(steps=4), tmp_path / "a")
    with pytest.raises(WorkbenchError, match="draws no pictures to judge"):
        run_trace(tiny_sd1, said(judged=True, sites=("text.0",)), tmp_path / "b", judge=Brightness())
    with pytest.raises(WorkbenchError, match="Unknown concept of the judge brightness 'bear'"):
        run_trace(tiny_janus, said(judged=True, concept="bear", sparing=("fox", "dog")), tmp_path / "c",
                  judge=Brightness())  # fmt: skip
    with pytest.raises(WorkbenchError, match="there is no judge"):
        run_trace(tiny_janus, said(judged=True), tmp_path / "d")
