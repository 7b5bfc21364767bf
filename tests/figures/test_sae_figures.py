"""The figures of a sweep hold its table."""

import numpy as np
import pandas as pd
import pytest

from workbench.figures.saes import dead_and_dense, densities, frontier


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        (f"{site}/{architecture}-k{k}", site, architecture, 64, float(k), 1 - 1 / k - shift, 0.1 * k, 0.02 * k, 0.9)
        for site, shift in (("text.2", 0.0), ("unet.mid", 0.1)) for architecture in ("topk", "gated") for k in (8, 4)
    ]  # fmt: skip
    names = ["sae", "site", "architecture", "d_sae", "l0", "explained_variance", "dead_share", "dense_share",
             "loss_recovered"]  # fmt: skip
    return pd.DataFrame(rows, columns=names)


def test_the_frontier_has_a_line_for_each_kind_sorted_by_sparsity(table):
    plot = frontier(table)
    assert [trace.name for trace in plot.data] == [
        "text.2 · topk · 64", "text.2 · gated · 64", "unet.mid · topk · 64", "unet.mid · gated · 64",
    ]  # fmt: skip
    assert list(plot.data[0].x) == [4, 8] and list(plot.data[0].y) == [0.75, 0.875]
    assert list(plot.data[2].text) == ["unet.mid/topk-k4", "unet.mid/topk-k8"]
    assert plot.data[0].line.color == plot.data[1].line.color != plot.data[2].line.color
    assert plot.data[0].marker.symbol == plot.data[2].marker.symbol != plot.data[1].marker.symbol


def test_the_frontier_shows_any_measure(table):
    plot = frontier(table, "loss_recovered", "loss recovered")
    assert list(plot.data[0].y) == [0.9, 0.9] and plot.layout.yaxis.title.text == "loss recovered"


def test_dead_and_dense_shares_are_bars_of_each_sae(table):
    dead, dense = dead_and_dense(table).data
    assert list(dead.y) == list(table["sae"]) and list(dead.x) == list(table["dead_share"])
    assert (dense.name, list(dense.x)) == ("dense", list(table["dense_share"]))


def test_densities_leave_the_dead_out_and_name_their_share():
    (trace,) = densities({"text.2/k4": np.array([-10.0, -2.0, -1.0, -0.5])}).data
    assert list(trace.x) == [-2.0, -1.0, -0.5] and trace.name == "text.2/k4 (25% dead)"
