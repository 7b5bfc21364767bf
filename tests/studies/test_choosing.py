"""From words to parts of a real (tiny) model, and to the random parts that stand against them."""

from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

import saes
from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.studies.choosing import choose, controls, kind_of, measured, sites_to_watch, words
from workbench.studies.conditions import conditions, edits, suite
from workbench.studies.contexts import swapped
from workbench.studies.hypothesis import Study
from workbench.studies.observing import Observer
from workbench.studies.subjects import Direction, Features, Subject
from workbench.studies.targets import target

FOX = Concept("fox", retain=["cat", "dog", "bear", "owl"], templates=["a photo of a {}", "{}"])


def study(subject: Subject, claim: str = "necessary", **more: object) -> Study:
    asked = {"claim": claim, "concept": FOX, "subject": subject, "sparing": ["cat", "dog"],
             "prompts": ["a red fox", "the blue fox"], "controls": 3, **more}  # fmt: skip
    return Study(**asked)


def drawn(model, asked):
    parts = choose(model, asked)
    observer = Observer(model, sites_to_watch(model, asked, parts))
    subject = measured(words(asked, parts), parts, asked, observer)
    return subject, controls(model, asked, subject, observer), observer


def test_layers_stand_against_all_other_layers_of_their_kind(tiny_sd1):
    asked = study(Subject(layers=("unet.mid.attn2",)), controls=50)
    parts = choose(tiny_sd1, asked)
    others = {alias for alias in tiny_sd1.sites() if alias.endswith(".attn2")} - {"unet.mid.attn2"}
    assert set(sites_to_watch(tiny_sd1, asked, parts)) == others | {"unet.mid.attn2"}
    _, found, _ = drawn(tiny_sd1, study(Subject(layers=("text.0.mlp",)), controls=50))
    assert [control.words for control in found] == ["layer text.1.mlp"] and found[0].scale == 1


def test_kinds_of_sites_are_told_apart():
    kinds = [kind_of(alias) for alias in ("unet.up.1.0.attn2", "unet.mid.attn2", "unet.up.0.0.7.attn2")]
    assert len(set(kinds)) == 1 and kinds[0] == ("unet", "attn2")
    assert kind_of("text.2.attn.heads") == ("text", "attn.heads") != kind_of("text.2.attn")
    assert kind_of("unet.mid") == kind_of("unet.down.1") != kind_of("unet.down.1.0")


def test_heads_stand_against_as_many_other_heads(tiny_sd1):
    subject, found, _ = drawn(tiny_sd1, study(Subject(heads={"text.1.attn": (0,)})))
    assert subject.words == "head 0 of text.1.attn" and len(found) >= 2
    assert len({control.words for control in found}) == len(found) and subject.words not in {one.words for one in found}
    channels = tiny_sd1.site("text.1.attn.heads").channels
    width = channels // tiny_sd1.pipe.text_encoder.config.num_attention_heads
    assert_close(subject.parts[0].basis, torch.eye(channels)[:width])


def test_a_direction_leads_from_other_words_to_the_concept_and_stands_against_those_of_others(tiny_sd1):
    asked = study(Subject(direction=Direction(site="text.1", of="fox")), found_for=FOX)
    subject, found, observer = drawn(tiny_sd1, asked)
    x = {w: observer.of("text.1", [swapped(p, "fox", w) for p in FOX.prompts()]).x[:, 1:].mean(dim=(0, 1))
         for w in ("fox", *FOX.retain)}  # fmt: skip
    expected = x["fox"] - torch.stack([x[w] for w in FOX.retain]).mean(dim=0)
    assert_close(subject.parts[0].basis[0], expected / expected.norm(), atol=1e-4, rtol=1e-4)
    assert len(found) == 3 and all("fox" not in one.words for one in found)
    assert all(one.norm * one.scale == pytest.approx(subject.norm, rel=1e-4) for one in found)


def test_a_part_is_moved_to_the_mean_over_the_other_words_of_its_sentence(tiny_sd1):
    asked = study(Subject(layers=("text.1",)), "specific")
    subject, _, observer = drawn(tiny_sd1, asked)
    found = target(subject.parts[0], asked, observer)
    x = {w: observer.of("text.1", [swapped(p, "fox", w) for w in ("fox", "cat", "dog") for p in asked.prompts]).x
         for w in ["all"]}["all"]  # fmt: skip
    assert_close(found.to[0], (x[2] + x[4]) / 2)  # "a red fox": the mean of "a red cat" and "a red dog"
    assert_close(found.to[3], (x[1] + x[5]) / 2)  # "the blue cat"
    patched = target(subject.parts[0], replace(asked, claim="sufficient"), observer)
    assert_close(patched.to[4], x[0])  # "a red dog" becomes "a red fox"


def test_every_condition_has_an_edit_that_works_and_the_no_op_does_nothing(tiny_sd1):
    asked = study(Subject(layers=("text.0", "unet.mid.attn2")[:1]), "sufficient", doses=[0.5])
    subject, found, observer = drawn(tiny_sd1, asked)
    made = edits(tiny_sd1, asked, subject, found, observer)
    assert list(made) == [one.name for one in conditions(asked, len(found))][1:]
    rows = suite(asked).rows
    assert [row.prompt for row in rows] == ["a red cat", "the blue cat", "a red dog", "the blue dog"]
    prompts = [row.prompt for row in rows]
    plain, clean = tiny_sd1.encode(prompts), tiny_sd1.encode(["a red fox", "the blue fox"] * 2)
    for name, edit in made.items():
        with tiny_sd1.edited(edit):
            got = tiny_sd1.encode(prompts).embeddings
        if name == "no-op":
            assert torch.equal(got, plain.embeddings)
        if name == "dose 1":  # patching a whole early layer is reading the other sentence
            assert_close(got, clean.embeddings, atol=1e-5, rtol=1e-5)
        assert name == "no-op" or not torch.equal(got, plain.embeddings)


@pytest.mark.parametrize(
    ("subject", "says"),
    [
        (Subject(layers=("text.9",)), r"Unknown site 'text.9'. Did you mean 'text"),
        (Subject(direction=Direction(site="txt.1", of="fox")), "Unknown site 'txt.1'"),
        (Subject(heads={"text.1.attn": (0, 7)}), r"text.1.attn has heads 0 to \d, and the study names 0, 7\."),
        (Subject(heads={"text.1.mlp": (0,)}), "Unknown site 'text.1.mlp.heads'|is no attention"),
        (Subject(layers=("text.0", "text.1")), "No control is possible: the model has no other layers"),
        (Subject(features=Features(sae="toy/text.3", listed=(3,))), "Unknown shipped SAE 'toy/text.3'"),
        (Subject(features=Features(sae="toy/text.2", listed=(3,))), "The SAE was trained on a model of other weights"),
    ],
)
def test_what_the_model_lacks_is_named(tiny_sd1, subject, says):
    with pytest.raises(WorkbenchError, match=says):
        drawn(tiny_sd1, study(subject))


def test_features_out_of_range_are_named(tiny_sd1, tmp_path):
    sae = save_tiny_sae(random_sae(tiny_sd1, "text.0", d_sae=40), tmp_path / "sae")
    assert saes.load(tmp_path / "sae").cfg.d_sae == 40
    for wrong in (40, -1):
        with pytest.raises(WorkbenchError, match=f"has features 0 to 39, and the study names {wrong}"):
            choose(tiny_sd1, study(Subject(features=Features(sae=sae, listed=(2, wrong)))))
