"""Drift of edits on a tiny pipeline: nothing for no edit, more for a stronger one, and at its site alone at first."""

import numpy as np
import pytest
import torch

from probes.drift import DriftMeter
from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.edits.interventions import intervention
from workbench.interpret.drift import measure_drift

REAL = [f"a {colour} {thing}" for colour in ("red", "blue") for thing in ("fox", "cat", "dog", "bear")]
PROMPTS = ["a photo of a fox", "fox", "a red bear"]


@pytest.fixture(scope="module")
def edits(tiny_sd1):
    sae = random_sae(tiny_sd1, "text.0")
    made = {name: intervention(tiny_sd1, sae, [0, 1, 2], action="add", strength=s)
            for name, s in {"weak": 0.2, "strong": 20.0}.items()}  # fmt: skip
    return {**made, "no-op": made["weak"].no_op()}


def test_a_stronger_edit_drifts_farther_and_no_edit_not_at_all(tiny_sd1, edits):
    table = measure_drift(tiny_sd1, edits, PROMPTS, REAL, ["text.0"]).set_index("condition")
    assert list(table.index) == ["unedited", "weak", "strong", "no-op"]
    assert table.loc["no-op", "distance"] == table.loc["unedited", "distance"] < table.loc["strong", "distance"]
    assert table.loc["unedited", "beyond"] < table.loc["strong", "beyond"]
    assert (table.low <= table.beyond).all() and (table.beyond <= table.high).all()
    assert table.timestep.isna().all() and table.usual.nunique() == 1


def test_the_rows_are_those_of_the_site_after_the_edit_without_the_begin_token(tiny_sd1, edits):
    table = measure_drift(tiny_sd1, {"strong": edits["strong"]}, PROMPTS, REAL, ["text.0"]).set_index("condition")

    def read(prompts, *edits):
        with torch.no_grad(), tiny_sd1.edited(*edits), tiny_sd1.session(record=["text.0"]) as session:
            tiny_sd1.encode(prompts)
        return session.records["text.0"][0][1][:, 1:]

    real = read(REAL)
    groups = torch.arange(len(REAL)).repeat_interleave(real.shape[1])
    meter = DriftMeter.fit(real.flatten(0, 1), groups=groups)
    for name, edit in (("unedited", ()), ("strong", (edits["strong"],))):
        rows = read(PROMPTS, *edit).flatten(0, 1)
        assert table.loc[name, "distance"] == pytest.approx(float(meter.distance(rows).median()), rel=1e-6)
        assert table.loc[name, "beyond"] == pytest.approx(meter.share_beyond(rows))


def test_denoiser_sites_are_measured_at_every_timestep(tiny_sd1, edits):
    told = {"sites": ["text.0", "unet.mid"], "steps": 2}
    table = measure_drift(tiny_sd1, {"strong": edits["strong"]}, PROMPTS, REAL, **told)
    with tiny_sd1.session(record=["unet.mid"]) as session:
        tiny_sd1.generate("fox", 0, steps=2)
    times = {clock.timestep for clock, _ in session.records["unet.mid"]}
    own = table[table.site == "unet.mid"]
    assert set(own.timestep) == times and len(own) == 2 * len(times)
    assert np.isfinite(own.distance).all() and len(table) == 2 + len(own)


def test_too_few_real_prompts_and_a_taken_name_are_refused(tiny_sd1, edits):
    with pytest.raises(WorkbenchError, match="3 prompts are too few"):
        measure_drift(tiny_sd1, {}, PROMPTS, REAL[:3], ["text.0"])
    with pytest.raises(WorkbenchError, match="called 'unedited'"):
        measure_drift(tiny_sd1, {"unedited": edits["weak"]}, PROMPTS, REAL, ["text.0"])
