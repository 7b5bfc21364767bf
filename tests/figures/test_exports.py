"""Who reads a notebook's HTML export sees its figures."""

import sys

import plotly.io
import pytest

from workbench.figures.exports import keep_in_exports


@pytest.fixture
def default(monkeypatch):
    before = plotly.io.renderers.default
    monkeypatch.delenv("PLOTLY_RENDERER", raising=False)
    yield monkeypatch
    plotly.io.renderers.default = before


def test_figures_of_a_notebook_are_saved_as_html_too_unless_someone_chose(default):
    default.setitem(sys.modules, "ipykernel", sys)
    plotly.io.renderers.default = "plotly_mimetype"
    default.setenv("PLOTLY_RENDERER", "plotly_mimetype")
    keep_in_exports()
    assert plotly.io.renderers.default == "plotly_mimetype"
    default.delenv("PLOTLY_RENDERER")
    keep_in_exports()
    assert plotly.io.renderers.default == "plotly_mimetype+notebook"


def test_outside_notebooks_nothing_is_chosen(default):
    default.delitem(sys.modules, "ipykernel", raising=False)
    plotly.io.renderers.default = "plotly_mimetype"
    keep_in_exports()
    assert plotly.io.renderers.default == "plotly_mimetype"
