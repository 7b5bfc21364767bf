"""Probing a tiny pipeline: what is told, from which rows, with edits in place, and what is refused."""

from dataclasses import dataclass
from itertools import product

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.hooks import SiteEdit
from workbench.interpret.decodability import contrast, decodability, judged

TEMPLATES = [
    f"{start} {{}}{end}"
    for start, end in product(("a", "a red", "a photo of a blue"), ("", " by dog", " dog", " bear"))
]
WITH, WITHOUT = ([template.format(word) for template in TEMPLATES] for word in ("fox", "cat"))


@dataclass(frozen=True)
class Overwriting:
    """Puts 1 wherever `where(clock)` says, at one site: nothing can be read there."""

    site: str
    where: object

    def installed(self, model):
        def overwrite(x, clock):
            return torch.where(self.where(x, clock), torch.ones_like(x), x)

        return model.session(edits=[SiteEdit(model.site(self.site), overwrite)])


def everywhere(x, clock):
    return torch.ones_like(x, dtype=torch.bool)


def own_tokens(x, clock):
    """From the first word to the first end token, whose id is the largest of CLIP's."""
    place, end = torch.arange(x.shape[1]), clock.token_ids.argmax(dim=1, keepdim=True)
    return ((place > 0) & (place <= end))[..., None]


def others(x, clock):
    return ~own_tokens(x, clock)


def accuracy(*args, **kwargs):
    return decodability(*args, **kwargs).set_index("site")["accuracy"]


def test_a_word_is_told_at_once_and_its_shuffled_labels_are_not(tiny_sd1):
    (row,) = decodability(tiny_sd1, WITH, WITHOUT, ["text.0"]).itertuples()
    assert row.accuracy > 0.8 and row.low > 0.5 and row.n == 24
    assert 0.25 < row.control < 0.75 and np.isnan(row.timestep)


def test_edits_are_in_place_and_act_from_their_layer_on(tiny_sd1):
    found = accuracy(tiny_sd1, WITH, WITHOUT, ["text.0", "text.1"], edits=[Overwriting("text.1", everywhere)])
    plain = accuracy(tiny_sd1, WITH, WITHOUT, ["text.0", "text.1"])
    assert found["text.0"] == plain["text.0"] and plain["text.1"] > 0.8 and found["text.1"] == 0.5


def test_the_rows_of_a_text_site_are_the_prompts_own_tokens(tiny_sd1):
    found = {
        where: accuracy(tiny_sd1, WITH, WITHOUT, ["text.1"], edits=[Overwriting("text.1", where)])["text.1"]
        for where in (own_tokens, others)
    }
    plain = accuracy(tiny_sd1, WITH, WITHOUT, ["text.1"])["text.1"]
    assert found == {own_tokens: 0.5, others: plain} and plain > 0.8


def test_without_an_edit_probes_transfer_as_they_are(tiny_sd1):
    nothing = Overwriting("text.1", lambda x, clock: torch.zeros_like(x, dtype=torch.bool))
    (plain,), (same,) = (
        decodability(tiny_sd1, WITH, WITHOUT, ["text.1"], edits=edits).itertuples() for edits in ((), (nothing,))
    )
    assert plain.transfer == plain.accuracy == same.transfer == same.accuracy > 0.8


def test_denoiser_sites_are_probed_at_every_call_and_pairs_share_their_noise(tiny_sd1):
    sites = ["unet.mid.attn2", "text.0", "unet.out"]
    table = decodability(tiny_sd1, WITH, WITHOUT, sites, steps=2, edits=[Overwriting("unet.out", everywhere)])
    with tiny_sd1.session(record=["unet.mid"]) as session:
        tiny_sd1.generate("fox", 0, steps=2)
    times = [clock.timestep for clock, _ in session.records["unet.mid"]]
    assert list(table["site"]) == [sites[0]] * len(times) + [sites[1]] + [sites[2]] * len(times)
    for site in (sites[0], sites[2]):
        own = table[table["site"] == site]
        assert list(own["timestep"]) == times and list(own["step"]) == list(range(len(times)))
    assert (table.loc[table["site"] == "unet.out", "accuracy"] == 0.5).all()
    assert table.loc[table["site"] == "unet.mid.attn2", "accuracy"].min() > 0.8


def rows(n=60, d=20, apart=4.0):
    generator = torch.Generator().manual_seed(0)
    shared = torch.randn(n, d, generator=generator)
    sides = [shared + 0.3 * torch.randn(n, d, generator=generator) for _ in range(2)]
    sides[0][:, 3] += apart
    return torch.cat(sides)


def test_one_direction_is_told_and_an_eraser_fitted_to_other_pairs_takes_it_away():
    found = judged(rows())
    assert found["accuracy"] > 0.9 and found["before_leace"] > 0.9
    assert 0.4 < found["control"] < 0.6 and 0.35 < found["after_leace"] < 0.65
    assert found["low"] < found["accuracy"] < found["high"]


def test_where_nothing_is_told_the_interval_holds_chance():
    found = judged(rows(apart=0.0))
    assert found["low"] < 0.5 < found["high"]


def test_probes_of_the_unedited_model_tell_a_hole_from_the_concept():
    """Both edits leave the two classes as far apart as they were, or together: accuracy alone cannot tell which."""
    x = rows()
    concept = torch.arange(len(x)) < len(x) // 2
    hole, anchor, moved = x.clone(), x.clone(), x.clone()
    hole[concept, 3] -= 4.0
    hole[concept, 7] += 4.0  # told, but not as what it was
    anchor[concept] = x[~concept]
    moved[concept], moved[~concept] = x[~concept], x[concept]
    found = {
        name: judged(each, x) for name, each in {"same": x, "hole": hole, "anchor": anchor, "moved": moved}.items()
    }
    assert found["same"]["transfer"] == found["same"]["accuracy"] > 0.9
    assert found["hole"]["accuracy"] > 0.9 and found["hole"]["transfer"] < 0.7
    assert found["anchor"]["accuracy"] < 0.65 and 0.4 < found["anchor"]["transfer"] < 0.6
    assert found["moved"]["accuracy"] > 0.9 and found["moved"]["transfer"] < 0.1


def test_pairs_differ_in_the_concept_alone():
    apple = Concept("apple", anchor="pear")
    assert contrast(apple, ["an apple", "a red Apple by a tree", "an apple"]) == (
        ["an apple", "a red apple by a tree"], ["a pear", "a red pear by a tree"],
    )  # fmt: skip
    assert contrast(Concept("car", anchor="old car"), ["a car"]) == (["a car"], ["an old car"])


@pytest.mark.parametrize(
    ("concept", "prompts", "words"),
    [
        (Concept("fox"), ["a fox"], "no anchor"),
        (Concept("fox", anchor="cat"), ["a firefox"], "does not name 'fox'"),
        (Concept("fox", anchor="cat"), ["a fox and a fox"], "does not name 'fox' once"),
        (Concept("fox", anchor="cat"), [], "no prompts that name 'fox'"),
    ],
)
def test_prompts_that_make_no_pairs_are_refused(concept, prompts, words):
    with pytest.raises(WorkbenchError, match=words):
        contrast(concept, prompts)


@pytest.mark.parametrize(
    ("first", "second", "site", "words"),
    [
        (WITH[:9], WITHOUT[:9], "text.0", "9 different pairs of prompts are too few"),
        (WITH, WITHOUT[:-1], "text.0", "no pairs"),
        (WITH, [*WITHOUT[:-1], WITH[0]], "text.0", "'a fox' stands twice"),
        (WITH, WITHOUT, "text.9", "Unknown site 'text.9'"),
    ],
)
def test_too_few_unpaired_and_repeated_prompts_and_unknown_sites_are_refused(tiny_sd1, first, second, site, words):
    with pytest.raises(WorkbenchError, match=words):
        decodability(tiny_sd1, first, second, [site])
