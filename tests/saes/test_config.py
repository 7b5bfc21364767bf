"""A configuration is strict, and what it leaves out follows from what it says."""

import pytest

from saes.config import SAEConfig
from saes.errors import WorkbenchError


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"d_sea": 64}, "Unknown key 'd_sea'. Did you mean 'd_sae'"),
        ({"architecture": "top-k"}, "architecture: Input should be 'topk'"),
        ({"k": 65}, "k must not exceed d_sae"),
        ({"samples": 10}, "samples must be at least batch_size"),
        ({"lr": 0}, "lr: Input should be greater than 0"),
        ({"lr": float("inf")}, "lr: Input should be a finite number"),
        ({"lr": 1e9}, "lr: Input should be less than or equal to 1"),
        ({"sparsity": float("nan")}, "sparsity: Input should be a finite number"),
        ({"d_sae": 10**12}, "d_sae: Input should be less than or equal to 16777216"),
        ({"batch_size": 10**12}, "batch_size: Input should be less than"),
        ({"samples": 10**30}, "samples: Input should be less than"),
        ({"seed": 2**64}, "seed: Input should be less than"),
        ({"seed": -1}, "seed: Input should be greater than or equal to 0"),
        ({"order": 2**64}, "order: Input should be less than"),
        ({"matryoshka_widths": (0, 64)}, "matryoshka_widths.0: Input should be greater than 0"),
        ({"matryoshka_widths": (16, 8, 64)}, "must grow and end at d_sae"),
        ({"matryoshka_widths": (8, 16)}, "must grow and end at d_sae"),
    ],
)
def test_a_value_that_does_not_fit_is_one_sentence(values, says):
    SAEConfig(d_sae=64, samples=2048)
    with pytest.raises(WorkbenchError) as raised:
        SAEConfig(**{"d_sae": 64, "samples": 2048, **values})
    assert says in str(raised.value) and "pydantic" not in str(raised.value)


def test_the_dead_window_fits_the_length_of_the_run():
    windows = {
        steps: SAEConfig(d_sae=64, batch_size=10, samples=10 * steps).window for steps in (20, 400, 10_000, 10**6)
    }
    assert windows == {20: 10, 400: 20, 10_000: 500, 10**6: 1000}
    assert SAEConfig(d_sae=64, samples=2048, dead_window=7).window == 7


def test_nested_widths_default_to_a_sixteenth_a_quarter_and_all():
    assert SAEConfig(d_sae=64, samples=2048).widths == (4, 16, 64)
    assert SAEConfig(d_sae=64, samples=2048, matryoshka_widths=(32, 64)).widths == (32, 64)


def test_a_configuration_survives_json():
    config = SAEConfig(d_sae=64, samples=2048, matryoshka_widths=(32, 64))
    assert SAEConfig(**config.model_dump(mode="json")) == config
