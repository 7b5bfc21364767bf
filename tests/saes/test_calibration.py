"""What is measured on the data equals what a direct computation gives."""

import pytest
import torch
from sae_lens import JumpReLUSAE, JumpReLUSAEConfig

from saes.calibration import moments, threshold_for_l0


def test_moments_are_those_of_all_rows_together():
    rows = torch.randn(500, 4, generator=torch.Generator().manual_seed(0)) * torch.tensor([1.0, 2, 3, 4]) + 1000
    mean, scale = moments(rows.split(7))
    torch.testing.assert_close(mean, rows.double().mean(0).float())
    assert scale == pytest.approx(rows.double().var(0, correction=0).mean().rsqrt().item(), rel=1e-9)


@pytest.mark.parametrize(("batch", "max_rows"), [(400, 400), (13, 400), (13, 130)])
def test_the_threshold_gives_the_asked_l0(batch, max_rows):
    torch.manual_seed(0)
    sae = JumpReLUSAE(JumpReLUSAEConfig(d_in=6, d_sae=20)).requires_grad_(False)
    rows = torch.randn(400, 6)
    before = (sae.encode(rows) != 0).sum(1).float().mean()
    sae.threshold.data.fill_(threshold_for_l0(sae, rows.split(batch), 2.5, max_rows))
    used = rows[:max_rows]
    assert before > 5 and (sae.encode(used) != 0).sum(1).float().mean().item() == 2.5
