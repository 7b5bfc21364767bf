"""Causal tracing: what it counts, and what it must find where the answer is known."""

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.reports.tracing import trace_report
from workbench.studies.traced import TraceFile, TraceResult, run_trace
from workbench.studies.tracing import TOKENS, restored, token_parts, trace

PROMPTS = ("a red fox by a cat", "the blue fox", "a photo of a fox")


def test_a_share_is_1_at_the_clean_prediction_and_0_at_the_corrupted_one():
    clean, corrupted = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert_close(restored(clean, clean, corrupted), torch.ones(3).double())
    assert_close(restored(corrupted, clean, corrupted), torch.zeros(3).double())
    halfway = restored((clean + corrupted) / 2, clean, corrupted)
    assert_close(halfway, torch.full((3,), 0.75).double())  # squares: half the distance is a quarter of the change
    assert (restored(2 * corrupted - clean, clean, corrupted) < 0).all()


def test_the_parts_of_a_sentence_cover_all_but_the_begin_token_once(tiny_sd1):
    parts = token_parts(tiny_sd1, PROMPTS, "fox")
    total = sum(mask.int() for mask in parts.values())
    assert list(parts) == list(TOKENS) and (total[:, 0] == 0).all() and (total[:, 1:] == 1).all()
    for row, prompt in enumerate(PROMPTS):
        ids = torch.tensor(tiny_sd1.tokens([prompt])[0].ids)
        word = torch.tensor(tiny_sd1.tokens(["fox"])[0].ids[1:-1])
        assert torch.equal(ids[parts["the word"][row].nonzero().flatten()], word)
        assert parts["end"][row].nonzero().item() == len(ids) - 1
    assert parts["after"].sum(dim=1).tolist()[1:] == [0, 0] and parts["after"][0].any()


def test_a_word_within_another_word_is_not_the_word(tiny_sd1):
    prompt = "foxy and a fox"  # f-o-x-y is letters, and so is "and": 1 begin token, 4, 3, "a", then "fox"
    assert token_parts(tiny_sd1, [prompt], "fox")["the word"][0].nonzero().flatten().tolist() == [9]


@pytest.fixture(scope="module")
def table(tiny_sd1):
    return trace(tiny_sd1, PROMPTS, "fox", ["cat", "dog"], ["text.0", "text.1", "unet.mid.attn2", "unet.out"], steps=2)


def test_all_is_restored_where_all_passes_and_nothing_where_the_word_has_not_been(table):
    """unet.out is the prediction itself; in a causal text encoder the tokens before the word do not know it."""
    out = table[table["site"] == "unet.out"]
    assert_close(torch.tensor(out["restored"].to_numpy()), torch.ones(2).double(), atol=1e-6, rtol=0)
    assert (out["control"] < 0.9).all() and len(out) == 2 and out["token"].eq("").all()
    before = table[table["token"] == "before"]
    assert (before["restored"].abs() < 1e-6).all() and len(before) == 2 and before["step"].isna().all()
    word = table[(table["token"] == "the word") & (table["site"] == "text.0")]
    assert (
        word["restored"].item() > 0.02 > word["control"].abs().item()
        or word["restored"].item() > word["control"].item()
    )


def test_intervals_hold_their_means(table):
    assert (table["low"] <= table["restored"] + 1e-9).all() and (table["restored"] <= table["high"] + 1e-9).all()
    assert (table["control_low"] <= table["control"] + 1e-9).all()


def test_a_trace_needs_a_second_other_word_and_known_sites(tiny_sd1):
    with pytest.raises(WorkbenchError, match="needs two other words"):
        trace(tiny_sd1, PROMPTS, "fox", ["cat", "cat"], ["text.0"])
    with pytest.raises(WorkbenchError, match=r"Unknown site 'text.7'"):
        trace(tiny_sd1, PROMPTS, "fox", ["cat", "dog"], ["text.7"])


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"others": ["Fox", "cat"]}, "corrupts 'fox' with itself"),
        ({"others": ["cat", "CAT"]}, "reads 'the blue CAT' as it reads 'the blue cat'"),
        ({"prompts": ["a red blue red blue red blue red blue red blue fox"]}, "as it reads"),  # beyond the limit
        ({"prompts": []}, "no prompts to trace"),
        ({"sites": []}, "no sites to trace"),
        ({"steps": 0}, "steps is 0"),
    ],
)
def test_a_trace_that_can_show_nothing_is_refused_before_any_picture(tiny_sd1, told, said):
    asked = {"prompts": ["the blue fox"], "word": "fox", "others": ["cat", "dog"], "sites": ["text.0"], **told}
    with pytest.raises(WorkbenchError, match=said):
        trace(tiny_sd1, **asked)


def test_a_trace_is_kept_read_again_and_reported(tiny_sd1, table, tmp_path):
    said = TraceFile(
        question="Where?", model="x", concept="fox", sparing=("cat", "dog"), claim="traced",
        sites=("text.1", "unet.out"), prompts=PROMPTS, steps=2,
    )  # fmt: skip
    made = run_trace(tiny_sd1, said, tmp_path / "out")
    pd.testing.assert_frame_equal(
        made.table, table[table["site"].isin(said.sites)].reset_index(drop=True), check_exact=False, rtol=1e-4
    )
    stamp = (tmp_path / "out/trace.json").stat().st_mtime_ns
    again = run_trace(tiny_sd1, said, tmp_path / "out")
    assert again.sentence == made.sentence and "unet.out" in made.sentence and "100 %" in made.sentence
    assert (tmp_path / "out/trace.json").stat().st_mtime_ns == stamp
    with pytest.raises(WorkbenchError, match="holds another trace"):
        run_trace(tiny_sd1, said.model_copy(update={"seed": 1}), tmp_path / "out")
    page = trace_report(TraceResult.open(tmp_path / "out"), tmp_path / "page.html").read_text()
    assert all(f'id="{name}"' in page for name in ("token-trace", "token-control", "step-trace", "step-control"))


@pytest.mark.parametrize(("site", "kind"), [("text.0", "token"), ("unet.out", "step")])
def test_a_trace_of_one_side_of_the_model_has_a_report(tiny_sd1, tmp_path, site, kind):
    said = TraceFile(
        question="Where?", model="x", concept="fox", sparing=("cat", "dog"), claim="traced", sites=(site,),
        prompts=PROMPTS, steps=1,
    )  # fmt: skip
    page = trace_report(run_trace(tiny_sd1, said, tmp_path / "out"), tmp_path / "page.html").read_text()
    assert [name for name in ("token-trace", "step-trace") if f'id="{name}"' in page] == [f"{kind}-trace"]
