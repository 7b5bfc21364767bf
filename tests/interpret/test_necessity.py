"""What a site carries of a prompt is what pictures lose when it does not hear it."""

import warnings

import numpy as np
import pytest

from saes.errors import WorkbenchError
from workbench.interpret.necessity import COLUMNS, site_necessity, warn_if_idle

PROMPTS = ("a photo of a fox", "a red fox")


def test_a_model_whose_last_output_is_deaf_draws_without_a_prompt(tiny_sd1):
    table = site_necessity(tiny_sd1, ["unet.out", "unet.mid"], PROMPTS, steps=2).set_index("site")
    assert table.loc["unet.out", ["moved", "low", "high"]].tolist() == pytest.approx([1, 1, 1], abs=0.01)
    assert 0 <= table.loc["unet.mid", "low"] <= table.loc["unet.mid", "moved"] <= table.loc["unet.mid", "high"]
    assert table["left"].isna().all() and table["n"].tolist() == [2, 2]


def test_a_judge_says_how_often_the_concept_is_left(tiny_sd1):
    for say, left in (([True, True], 1.0), ([True, False], 0.5)):
        table = site_necessity(tiny_sd1, ["unet.out"], PROMPTS, steps=1, shows=lambda images, say=say: np.array(say))
        assert list(table) == COLUMNS and table["left"].tolist() == [left]


def test_the_model_is_as_before(tiny_sd1):
    before = tiny_sd1.generate(PROMPTS, seeds=[0, 1], steps=1)
    site_necessity(tiny_sd1, ["unet.mid"], PROMPTS, steps=1)
    np.testing.assert_array_equal(before, tiny_sd1.generate(PROMPTS, seeds=[0, 1], steps=1))


def test_a_site_of_the_prompt_is_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"'text\.0' is a site of the prompt"):
        site_necessity(tiny_sd1, ["text.0"], PROMPTS, steps=1)


def test_without_unconditional_rows_there_is_nothing_to_listen_to(tiny_flux):
    site = next(alias for alias in tiny_flux.sites() if tiny_flux.site(alias).component == "image")
    with pytest.raises(WorkbenchError, match="without unconditional rows"):
        site_necessity(tiny_flux, [site], PROMPTS, steps=1)


def test_a_method_at_an_idle_site_warns_and_one_at_a_site_that_matters_does_not(tiny_sd1):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_idle(tiny_sd1, tiny_sd1.site("unet.out"), PROMPTS, [0, 1], steps=2, method="SAeUron")
    idle = min(
        ("unet.down.0.0.attn2", "unet.mid.attn2"),
        key=lambda alias: site_necessity(tiny_sd1, [alias], PROMPTS, steps=2)["moved"][0],
    )
    with pytest.warns(UserWarning, match=f"SAeUron edits {idle}, and without the prompt's part"):
        warn_if_idle(tiny_sd1, tiny_sd1.site(idle), PROMPTS, [0, 1], steps=2, method="SAeUron")
