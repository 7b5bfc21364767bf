"""Control features change as often and as strongly as those that they stand against, or there are none."""

import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_saes import memorising_sae
from workbench.concepts import Concept
from workbench.studies.choosing import choose, controls, measured, words
from workbench.studies.hypothesis import Study
from workbench.studies.matching import NEAREST, Changes, changes, dense, matched_changes
from workbench.studies.observing import Observer
from workbench.studies.parts import Part
from workbench.studies.subjects import Features, Subject


def table(n=60):
    """Features in three groups of density; within a group the norm rises."""
    density = torch.tensor([0.02, 0.2, 0.9]).repeat_interleave(n // 3)
    norm = torch.arange(n // 3, dtype=torch.float32).repeat(3) + 1
    alive = torch.ones(n, dtype=torch.bool)
    alive[25] = False
    return Changes(density, norm, alive)


def test_a_control_feature_is_of_the_same_density_and_among_the_nearest_in_norm():
    drawn = torch.stack([matched_changes(torch.tensor([22, 30]), table(), seed=seed) for seed in range(60)])
    assert ((drawn >= 20) & (drawn < 40)).all() and not torch.isin(drawn, torch.tensor([22, 25, 30])).any()
    assert all(len(set(pair.tolist())) == 2 for pair in drawn)
    for column, own in enumerate((22, 30)):
        ratio = (table().norm[drawn[:, column]] / table().norm[own]).log().abs()
        others = (table().norm[20:40] / table().norm[own]).log().abs().sort().values
        assert ratio.max() <= others[NEAREST + 3]  # itself, the dead one, the other feature and its stand-in aside
    assert len({tuple(pair.tolist()) for pair in drawn}) > 10


def test_a_feature_of_a_density_of_its_own_has_no_control():
    odd = table()
    odd.density[5] = 0.44
    with pytest.raises(WorkbenchError, match=r"No control is possible: .* 44\.0% .* feature 5"):
        matched_changes(torch.tensor([5]), odd, seed=0)


@pytest.fixture(scope="module")
def study():
    fox = Concept("fox", retain=["cat", "dog", "bear"], templates=["a photo of a {}", "{}"])
    return Study(
        claim="necessary", concept=fox, subject=Subject(features=Features(sae="", listed=(3,))), sparing=["cat"],
        prompts=["a red fox", "the blue fox"],
    )  # fmt: skip


def test_density_and_norm_are_counted_on_the_prompts_of_the_concept(tiny_sd1, study):
    from saes.dictionary import Dictionary

    sae = memorising_sae(tiny_sd1, "text.0")
    part = Part("text.0", Dictionary.of(sae), torch.tensor([3]))
    observer = Observer(tiny_sd1, ["text.0"])
    found = changes(part, study, observer)
    x = observer.of("text.0", list(study.concept.prompts())).x[:, 1:]
    z = torch.stack([dense(part.dictionary, row) for row in x])
    torch.testing.assert_close(found.density, (z != 0).float().mean(dim=(0, 1)))
    torch.testing.assert_close(found.norm, z.pow(2).sum(dim=1).mean(dim=0).sqrt())  # decoder rows have norm 1
    assert (found.density > 0).any() and (found.density == 0).any()


def test_a_control_is_scaled_to_the_norm_of_the_subject(tiny_sd1, study, tmp_path):
    from dataclasses import replace

    from tests.tiny_saes import random_sae, save_tiny_sae

    sae = save_tiny_sae(random_sae(tiny_sd1, "text.0", k=24), tmp_path / "sae")
    asked = replace(study, subject=Subject(features=Features(sae=sae, of="fox", top=2)), found_for=study.concept)
    parts = choose(tiny_sd1, asked)
    observer = Observer(tiny_sd1, ["text.0"])
    subject = measured(words(asked, parts), parts, asked, observer)
    for control in controls(tiny_sd1, asked, subject, observer):
        scaled = measured("", control.parts, asked, observer).norm * control.scale
        assert scaled == pytest.approx(subject.norm, rel=1e-5)
        assert not set(control.parts[0].features.tolist()) & set(parts[0].features.tolist())
