"""A sweep file is read strictly; its run harvests once, measures what each SAE recovers, and goes on where it was."""

from pathlib import Path

import pandas as pd
import pytest

import saes
from saes.calibration import moments
from saes.errors import WorkbenchError
from saes.sweep import TABLE
from workbench.activations.substitution import measure_substitution
from workbench.sweep import Sweep, read_sweep, run_sweep, write_page

SHIPPED = sorted((Path(__file__).parents[2] / "studies/sweeps").glob("*.yaml"))
PROMPTS = [f"a {colour} {thing} {more}" for colour in ("red", "blue") for thing in ("fox", "cat", "dog", "bear")
           for more in ("", "by a cat", "in a hat")]  # fmt: skip
SMALL = Sweep(
    model="tiny", prompts=len(PROMPTS), sites=("text.1", "unet.mid"), recovered=2, steps=2, pixel_rate=0.3,
    base={"d_sae": 32, "samples": 640, "batch_size": 32}, vary={"architecture": ("topk", "batchtopk"), "k": (3,)},
)  # fmt: skip


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_the_shipped_files_are_valid_and_say_how_to_run_them(path):
    sweep = read_sweep(path)
    assert f"workbench sweep studies/sweeps/{path.name} --out out/{path.stem}" in path.read_text()
    assert sweep.question and len(sweep.configs()) >= 6


def test_sites_yaml_has_all_text_layers_and_a_block_of_down_mid_and_up():
    sites = read_sweep(SHIPPED[0]).sites
    assert [site for site in sites if site.startswith("text")] == ["text.0", "text.1", "text.2", "text.3"]
    assert [site.split(".")[1] for site in sites if site.startswith("unet")] == ["down", "mid", "up"]


TOY = "model: toy\nprompts: 4\nsites: [text.2]\n"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("modle: toy", "Did you mean 'model'"),
        ("model: toy\nprompts: 4\nsites: []", "sites"),
        (TOY + "base: {d_sae: 64, samples: 1024}\nvary: {kk: [1]}", "Did you mean 'k'"),
        (TOY + "base: {d_sae: 64, samples: 1024}\nvary: {k: []}", "has no values"),
        (TOY + "base: {samples: 1024}", "d_sae"),
        (TOY + "base: {d_sae: 8, samples: 1024}\nvary: {k: [4, 9]}", "must not exceed"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(tmp_path, text, says):
    (tmp_path / "sweep.yaml").write_text(text)
    with pytest.raises(WorkbenchError, match=says):
        read_sweep(tmp_path / "sweep.yaml")


@pytest.fixture(scope="module")
def done(tiny_sd1, tmp_path_factory) -> tuple[Path, pd.DataFrame]:
    out = tmp_path_factory.mktemp("sweep")
    return out, run_sweep(tiny_sd1, SMALL, PROMPTS, out)


def test_every_site_is_harvested_once_and_gets_every_sae(done):
    out, table = done
    assert saes.ActivationStore.open(out / "store").sites == ["text.1", "unet.mid"]
    assert table["sae"].tolist() == [f"{site}/{name}" for site in SMALL.sites for name in ("topk-k3", "batchtopk-k3")]
    pd.testing.assert_frame_equal(pd.read_parquet(out / "saes" / TABLE), table)


def test_the_loss_recovered_is_that_of_a_substitution_on_held_out_prompts(done, tiny_sd1):
    out, table = done
    store = saes.ActivationStore.open(out / "store")
    indices = {
        index for block in store.blocks("text.1", split="validation") for index in block.labels["prompt"].tolist()
    }
    prompts = [store.prompts[index] for index in sorted(indices)][:2]
    row = table[table["site"] == "text.1"].iloc[0]
    mean, _ = moments(store.batches("text.1", 64))
    alone = measure_substitution(tiny_sd1, saes.load(out / "saes" / row["sae"]), "text.1", mean, prompts)
    assert row["loss_recovered"] == pytest.approx(alone.losses.recovered, rel=1e-3)
    assert table["loss_recovered"].nunique() == len(table)


def test_a_finished_sweep_is_opened_without_running_the_model(done, tiny_sd1, monkeypatch):
    out, table = done
    monkeypatch.setattr(type(tiny_sd1), "generate", lambda *_, **__: pytest.fail("made pictures"))
    pd.testing.assert_frame_equal(run_sweep(tiny_sd1, SMALL, PROMPTS, out), table)


def test_without_prompts_to_measure_on_nothing_is_claimed(done, tiny_sd1):
    out, _ = done
    table = run_sweep(tiny_sd1, SMALL.model_copy(update={"recovered": 0}), PROMPTS, out)
    assert table["loss_recovered"].isna().all()
    run_sweep(tiny_sd1, SMALL, PROMPTS, out)


def test_the_page_holds_all_figures_and_loads_nothing(done):
    out, table = done
    page = write_page(table, out, "Which <k>?").read_text()
    assert "Which &lt;k&gt;?" in page and page.count("plotly-graph-div") >= 4
    assert 'src="http' not in page and all(sae in page for sae in table["sae"])
