"""Figures of an SAE by sort of position, and the cross-entropy that a Janus loses: exact at both ends, sort by sort."""

import pytest
import torch
from torch.testing import assert_close

from saes.errors import WorkbenchError
from saes.metrics import evaluate_sae
from tests.activations.test_substitution import mirror
from tests.tiny_janus import CELLS
from tests.tiny_saes import random_sae
from workbench.activations.fidelity import ALL, CLASSES, by_place, fidelity, held_out, recovering
from workbench.activations.harvest import harvest
from workbench.activations.substitution import measure_substitution
from workbench.activations.token_losses import cross_entropy, token_losses
from workbench.hooks import Place, SiteEdit
from workbench.sweep import Sweep, run_sweep

SITE = "lm.1"
PROMPTS = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("fox", "cat", "dog", "bear", "vixen")]
NAMES = [ALL, *CLASSES]


@pytest.fixture(scope="module")
def store(tiny_janus, tmp_path_factory):
    folder = tmp_path_factory.mktemp("store") / "store"
    return harvest(tiny_janus, PROMPTS, [SITE], folder, dtype="float32", pixel_rate=1.0)


@pytest.fixture(scope="module")
def own(tiny_janus, store):
    """Held-out prompts, and the tokens of their pictures."""
    prompts = held_out(store, 4)
    assert 0 < len(prompts) < len(PROMPTS)
    return prompts, tiny_janus.sample_codes(prompts, range(len(prompts)))


def at_site(sae):
    sae.cfg.metadata.hook_name = SITE
    return sae


def test_figures_of_a_sort_are_those_of_its_rows_alone(tiny_janus, store):
    sae = random_sae(tiny_janus, SITE)
    found = by_place(sae, store, SITE)
    assert list(found) == NAMES
    (block,) = store.blocks(SITE, 10_000, split="validation")
    for name, places in CLASSES.items():
        rows = block.rows[torch.isin(block.labels["place"], torch.tensor([int(place) for place in places]))]
        alone = evaluate_sae(sae, [rows])
        assert found[name].numbers() == pytest.approx(alone.numbers())
        assert_close(found[name].density, alone.density)
    n = len(held_out(store, 100))
    assert found["begin of image"].rows == n and found["picture cells"].rows == n * (CELLS - 1)
    assert found[ALL].rows == n + sum(found[name].rows for name in CLASSES), "and the begin tokens"


def test_the_loss_is_the_cross_entropy_of_the_tokens(tiny_janus, own):
    prompts, codes = own
    with torch.no_grad():
        log_p = tiny_janus.logits(codes, prompts).double().log_softmax(-1)
    by_hand = -sum(float(log_p[row, k, code]) for row, line in enumerate(codes.tolist()) for k, code in enumerate(line))
    assert cross_entropy(tiny_janus, prompts, codes) == pytest.approx(by_hand / codes.numel(), rel=1e-5)


def test_a_perfect_reconstruction_recovers_all_of_every_sort(tiny_janus, store):
    d = store.width(SITE)
    table = fidelity(at_site(mirror(d)), store, tiny_janus).set_index("positions")
    assert list(table.index) == NAMES
    assert table["explained_variance"].tolist() == pytest.approx([1] * 4) and table["recovered"].tolist() == (
        pytest.approx([1] * 4, abs=1e-3)
    )
    assert table["clean"].nunique() == 1 and (table["ablated"] != table["clean"]).all()


def test_the_mean_of_each_sort_recovers_nothing_of_it(tiny_janus, store):
    for name, places in CLASSES.items():
        rows = torch.cat([block.rows[torch.isin(block.labels["place"], torch.tensor(places).to(torch.int8))]
                          for block in store.blocks(SITE, split="train")])  # fmt: skip
        constant = at_site(mirror(store.width(SITE), scale=0.0))
        constant.b_dec.data = rows.mean(0)
        row = fidelity(constant, store, tiny_janus).set_index("positions").loc[name]
        assert row["recovered"] == pytest.approx(0, abs=1e-3) and row["explained_variance"] <= 0


def test_only_the_positions_asked_for_are_replaced(tiny_janus, own):
    prompts, codes = own
    d = tiny_janus.site(SITE).channels
    sae, mean = random_sae(tiny_janus, SITE), torch.zeros(d)
    for at in (Place.WORD, Place.PICTURE):
        found = token_losses(tiny_janus, {"": sae}, SITE, mean, prompts, codes, at=[at])[""]

        def by_hand(x, clock, at=at):
            here = (clock.tokens.places == at) & clock.mask("cond")[:, None]
            return torch.where(here[..., None], sae.decode(sae.encode(x)), x)

        with tiny_janus.session(edits=[SiteEdit(tiny_janus.site(SITE), by_hand)]):
            assert found.substituted == pytest.approx(cross_entropy(tiny_janus, prompts, codes), rel=1e-6)
        assert found.clean == pytest.approx(cross_entropy(tiny_janus, prompts, codes), rel=1e-6)
    nothing = token_losses(tiny_janus, {"": sae}, SITE, mean, prompts, codes, at=[])[""]
    assert nothing.clean == nothing.substituted == nothing.ablated


def test_a_store_of_a_diffusion_has_one_row_with_the_denoising_loss(tiny_sd1, tmp_path):
    store = harvest(tiny_sd1, PROMPTS, ["text.1"], tmp_path / "store", dtype="float32")
    sae = mirror(store.width("text.1"))
    sae.cfg.metadata.hook_name = "text.1"
    table = fidelity(sae, store, tiny_sd1, n_prompts=2)
    assert table["positions"].tolist() == [ALL] and table["recovered"][0] == pytest.approx(1, abs=1e-3)
    assert list(fidelity(sae, store)) == ["positions", "rows", "l0", "explained_variance", "cosine", "dead_share"]


def test_a_sweep_of_a_janus_measures_the_loss_of_its_tokens(tiny_janus, tmp_path):
    sweep = Sweep(model="janus", prompts="-", sites=[SITE], base={"d_sae": 64, "k": 4, "samples": 1024}, recovered=2)
    table = run_sweep(tiny_janus, sweep, PROMPTS, tmp_path / "sweep")
    assert table["loss_recovered"].notna().all()
    with pytest.raises(WorkbenchError, match="The denoising loss needs a diffusion model"):
        measure_substitution(tiny_janus, random_sae(tiny_janus, SITE), SITE, torch.zeros(32), PROMPTS)


def test_a_site_or_a_model_that_does_not_fit_is_refused_before_any_work(tiny_janus, store):
    elsewhere = random_sae(tiny_janus, "lm.2")
    with pytest.raises(WorkbenchError, match=r"lm\.2"):
        fidelity(elsewhere, store, tiny_janus)
    foreign = random_sae(tiny_janus, SITE)
    foreign.cfg.metadata.model_name = "0" * 64
    with pytest.raises(WorkbenchError, match="trained on a model of other weights"):
        fidelity(foreign, store, tiny_janus)


def test_losses_of_several_saes_share_the_clean_and_the_ablated_run(tiny_janus):
    sae = random_sae(tiny_janus, SITE)
    losses = recovering(tiny_janus, PROMPTS[:2])({"one": sae, "two": sae}, SITE, torch.zeros(32))
    assert losses["one"] == losses["two"] and losses["one"].ablated != losses["one"].clean
