"""The debias mode of UCE against its equations, and its rounds with voters that are known."""

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from workbench.concepts import Concept
from workbench.edits import WeightEdit
from workbench.erasure.uce_debias import (
    Problem,
    UCEDebias,
    corrections,
    shares_of,
    solved,
    towards,
)
from workbench.erasure.voters import find_voter
from workbench.fitting.embedding import embed
from workbench.fitting.least_squares import Gram

FOX = Concept("fox", retain=["dog"], templates=["a photo of a {}", "{}"])
CAT = Concept("cat", templates=["a {}"])


def debias(voter, **settings):
    return UCEDebias(**{"attributes": ("red", "blue"), "voter": f"tests.voters:{voter}", "images": 2} | settings)


@pytest.mark.parametrize(("n", "d"), [(1, 8), (6, 8)])  # fewer and more moved rows than d
def test_equation_1_minimises_the_stacked_problem(n, d):
    draw = torch.Generator().manual_seed(0)
    W, k = (torch.randn(rows, d, generator=draw, dtype=torch.float64) for rows in (5, 3))
    words = [torch.randn(3, n, d, generator=draw, dtype=torch.float64) for _ in range(2)]
    alpha = torch.tensor([[0.3, -0.2], [-0.4, 0.7]], dtype=torch.float64)
    s_e, s_p, damping = 0.7, 0.4, 0.6
    kept = Gram(d)
    kept.add(k, s_p)
    edit = WeightEdit(
        tensors=solved(Problem({"W": W}, words, kept), alpha, s_e, damping),
        settings={}, method="", concepts=[], base_fingerprint="",
    )  # fmt: skip
    c = torch.cat([rows[0] for rows in words])
    values = torch.cat(
        [rows[0] @ W.T + a[0] * rows[1] @ W.T + a[1] * rows[2] @ W.T for rows, a in zip(words, alpha, strict=True)]
    )
    left = torch.cat([s_e**0.5 * c, s_p**0.5 * k, damping**0.5 * torch.eye(d, dtype=torch.float64)])
    right = torch.cat([s_e**0.5 * values, s_p**0.5 * k @ W.T, damping**0.5 * W.T])
    assert_close(W + edit.delta("W"), torch.linalg.lstsq(left, right, driver="gelsd").solution.T)


def test_attributes_are_added_in_their_shares():
    c, attributes = torch.tensor([[1.0, 2.0]]), torch.tensor([[[10.0, 0.0]], [[0.0, 100.0]]])
    assert towards(c, attributes, torch.tensor([0.5, -0.1], dtype=torch.float64)).tolist() == [[6.0, -8.0]]


def test_equations_2_and_3_by_hand():
    observed = torch.tensor([[0.9, 0.1], [0.48, 0.52], [0.45, 0.55]], dtype=torch.float64)
    change = corrections(observed, torch.tensor([0.5, 0.5], dtype=torch.float64), 0.1, 0.05)
    assert_close(change, torch.tensor([[-0.04, 0.04], [0, 0], [0.005, -0.005]], dtype=torch.float64))
    change = corrections(observed[:1], torch.tensor([0.8, 0.2], dtype=torch.float64), 2.0, 0.05)
    assert_close(change, torch.tensor([[-0.2, 0.2]], dtype=torch.float64))


def test_votes_that_were_not_cast_do_not_count():
    assert shares_of(np.array([0, 2, -1, 2, 2, -1]), 3).tolist() == [0.25, 0.0, 0.75]


@pytest.mark.parametrize("kind", ["sd1", "flux"])
def test_every_round_adds_to_alpha_and_solves_from_the_original_weights(tiny, kind):
    model = tiny(kind)
    method = debias("first", rounds=3, step=0.2)
    edit = method.fit(model, [FOX, CAT])
    assert edit.settings["observed"] == {name: [[1.0, 0.0]] * 3 for name in ("fox", "cat")}
    for own in edit.settings["alpha"].values():
        assert own == pytest.approx([-0.3, 0.3])  # three rounds of 0.2 · (0.5 − 1)
    once = debias("first", rounds=1, step=0.6).fit(model, [FOX, CAT])
    assert edit.names == once.names == sorted([*model.prompt_maps(), *model.prompt_maps("pooled")])
    for name in edit.names:
        assert_close(edit.delta(name), once.delta(name))
        assert edit.delta(name).norm() > 0


@pytest.mark.parametrize("tokens", ["all", "last"])
def test_a_fit_solves_the_stacked_system_of_the_models_own_rows(tiny_sd1, tokens):
    settings = {"erase_scale": 0.7, "preserve_scale": 0.4, "damping": 0.6}
    edit = debias("first", rounds=1, step=0.6, tokens=tokens, **settings).fit(tiny_sd1, [FOX])  # α = (−0.3, 0.3)
    fox, red, blue, blank, dog = embed(tiny_sd1, ["fox", "red", "blue", "", "dog"]).double()
    moved = slice(1, None) if tokens == "all" else slice(1, 2)
    c, to = fox[moved], (fox - 0.3 * red + 0.3 * blue)[moved]
    k = torch.cat([blank, dog]) if tokens == "all" else torch.stack([blank[0], dog[1]])
    left = torch.cat([0.7**0.5 * c, 0.4**0.5 * k, 0.6**0.5 * torch.eye(c.shape[1], dtype=torch.float64)])
    right = torch.cat([0.7**0.5 * (to - c), torch.zeros(len(left) - len(c), c.shape[1], dtype=torch.float64)])
    shift = torch.linalg.lstsq(left, right, driver="gelsd").solution
    for name, W in tiny_sd1.prompt_maps().items():
        expected = W.detach().double() @ shift.T
        assert (edit.delta(name).double() - expected).norm() < 1e-4 * expected.norm()


def test_wanted_shares_that_are_reached_end_it(tiny_sd1):
    edit = debias("in_turn", rounds=5).fit(tiny_sd1, [FOX])
    assert edit.settings["observed"] == {"fox": [[0.5, 0.5]]}
    assert not any(edit.delta(name).any() for name in edit.names)
    edit = debias("first", shares=(1.0, 0.0), rounds=5).fit(tiny_sd1, [FOX])
    assert edit.settings["observed"] == {"fox": [[1.0, 0.0]]}
    edit = debias("in_turn", shares=(0.8, 0.2), rounds=2, step=1.0).fit(tiny_sd1, [FOX])
    assert edit.settings["alpha"]["fox"] == pytest.approx([0.6, -0.6])


def test_each_round_looks_at_new_images_of_the_edited_model(tiny_sd1, monkeypatch):
    seen = []
    generate = type(tiny_sd1).generate

    def watched(self, prompts, seeds, **settings):
        seen.append((list(prompts), list(seeds), self.is_edited, self.parameter(name).detach().clone()))
        return generate(self, prompts, seeds, **settings)

    name = next(iter(tiny_sd1.prompt_maps()))
    monkeypatch.setattr(type(tiny_sd1), "generate", watched)
    debias("first", rounds=2, images=3).fit(tiny_sd1, [FOX], seed=7)
    assert [seeds for _, seeds, _, _ in seen] == [[7, 8, 9], [10, 11, 12]]
    assert seen[0][0] == ["a photo of a fox", "fox", "a photo of a fox"] and seen[0][2]
    assert torch.equal(seen[0][3], tiny_sd1.parameter(name)) and not torch.equal(seen[1][3], seen[0][3])


def test_what_cannot_be_balanced_is_refused(tiny_sd1):
    for settings, says in (
        ({"attributes": ("red",)}, "nothing to balance"),
        ({"shares": (0.5, 0.6)}, "do not divide red, blue"),
        ({"shares": (1.0,)}, "do not divide"),
        ({"shares": (1.5, -0.5)}, "do not divide"),
        ({"rounds": 0}, "rounds is 0"),
    ):
        with pytest.raises(WorkbenchError, match=says):
            debias("first", **settings)
    with pytest.raises(WorkbenchError, match="is one of the attributes"):
        debias("first").fit(tiny_sd1, [Concept("red")])
    with pytest.raises(WorkbenchError, match=r"In 2 images of 'fox' .* sees no red or blue"):
        debias("none").fit(tiny_sd1, [FOX])
    with pytest.raises(WorkbenchError, match=r"Unknown voter 'tooy'. Did you mean 'toy'"):
        find_voter("tooy")
    with pytest.raises(WorkbenchError, match="cannot be imported"):
        find_voter("tests.voters:nobody")
