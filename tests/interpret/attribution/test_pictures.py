"""Features in space and time: where they fire is where the dictionary says, at every call."""

import numpy as np
import pytest
import torch

from saes.dictionary import Dictionary
from saes.errors import WorkbenchError
from tests.tiny_saes import random_sae
from workbench.interpret.attribution.pictures import feature_pictures

SITE = "unet.up.1.0.attn2"


def test_the_maps_are_the_activations_of_each_call(tiny_sd1):
    sae, features = random_sae(tiny_sd1, SITE), list(range(95, -1, -1))
    side = round(tiny_sd1.site(SITE).positions ** 0.5)
    found = feature_pictures(tiny_sd1, sae, features, "a fox", [1, 2], size=side, steps=2)
    with tiny_sd1.session(record=[SITE]) as session:
        images = tiny_sd1.generate("a fox", [1, 2], steps=2)
    np.testing.assert_array_equal(found.images, images)
    assert found.timesteps.tolist() == [clock.timestep for clock, _ in session.records[SITE]]
    for step, (_, x) in enumerate(session.records[SITE]):
        code = Dictionary.of(sae).encode(x[2:])  # the conditional rows
        dense = torch.zeros(*x[2:].shape[:2], 96).scatter(2, code.indices, code.values)
        expected = dense[..., features].mT.unflatten(2, (side, side))
        torch.testing.assert_close(torch.from_numpy(found.maps[:, step]), expected, atol=1e-5, rtol=1e-4)
    assert found.maps.max() > 0


def test_text_sites_and_unknown_features_are_refused(tiny_sd1):
    with pytest.raises(WorkbenchError, match=r"text\.0 is passed before there is a picture"):
        feature_pictures(tiny_sd1, random_sae(tiny_sd1, "text.0"), [0], "a fox", 0)
    with pytest.raises(WorkbenchError, match="features 0 to 95"):
        feature_pictures(tiny_sd1, random_sae(tiny_sd1, SITE), [96], "a fox", 0)
