"""Bytes of live tensors, against sums by hand."""

import gc

import torch

from workbench.fitting.accounting import LiveBytes


def test_a_tensor_counts_from_when_it_is_made_until_its_last_view_is_gone():
    with LiveBytes() as live:
        x = torch.zeros(100)
        view = x[:10].view(2, 5)
        assert live.now == live.peak == 400
        y = x + 1
        del x, y
        assert (live.now, live.peak) == (400, 800)
        live.restart()
        del view
        assert (live.now, live.peak) == (0, 400)
        z = torch.zeros(50, dtype=torch.bfloat16)
        z += 1
        assert live.now == 100
    del z
    assert live.now == 0, "also after the block"


def test_what_was_there_before_counts_once_if_it_is_told():
    weight = torch.nn.Parameter(torch.ones(8, 8))
    with LiveBytes() as live:
        live.count([weight, weight.T, weight])
        assert live.now == 256
        out = weight @ torch.ones(8)
        assert live.now == 256 + 32 + 32, "the product, and the vector that its gradient needs"
        assert out.sum() == 64


def test_a_graph_holds_what_its_backward_pass_needs_and_lets_it_go():
    """y = exp(exp(x)) keeps both results; the backward pass makes a gradient of each and of x."""
    x = torch.zeros(1000, requires_grad=True)
    with LiveBytes() as live:
        y = x.exp().exp().sum()
        assert live.now == 8000 + 4
        live.restart()
        y.backward()
        del y
        gc.collect()
        assert live.now == 4000 == x.grad.nbytes
        assert 12000 <= live.peak <= 16004
