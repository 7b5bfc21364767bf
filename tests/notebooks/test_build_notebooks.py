"""Executed notebooks as pages: text, code, figures and tables, offline."""

import importlib.util
import json
import re
from pathlib import Path

import nbformat
import pandas as pd
import plotly.express as px
import pytest
from nbformat import v4

PATH = Path(__file__).parents[2] / "docs" / "build_notebooks.py"


@pytest.fixture(scope="module")
def build():
    spec = importlib.util.spec_from_file_location("build_notebooks", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_page_has_text_code_figures_and_tables_and_loads_nothing_from_elsewhere(build):
    figure, table = px.line(x=[1, 2], y=[3, 4], title="a line"), pd.DataFrame({"n": [7]})
    outputs = [
        v4.new_output("stream", name="stdout", text="1 < 2"), v4.new_output("stream", name="stderr", text="a bar"),
        v4.new_output("display_data", {build.FIGURE: json.loads(figure.to_json()), "text/html": "<b>unused</b>"}),
        v4.new_output("execute_result", {"text/html": table.to_html(), "text/plain": "n 7"}),
        v4.new_output("execute_result", {"text/plain": "<plain>"}),
    ]  # fmt: skip
    cells = [v4.new_markdown_cell("# A *title*\n<script>no</script>"), v4.new_code_cell("x < 1", outputs=outputs)]
    text = build.page(v4.new_notebook(cells=cells), "a <page>")
    assert "<h1>A <em>title</em></h1>" in text and "<script>no" not in text and "a &lt;page&gt;" in text
    assert "<pre>x &lt; 1</pre>" in text and "<pre>1 &lt; 2</pre>" in text and "&lt;plain&gt;" in text
    assert "Plotly.newPlot" in text and "a line" in text and "unused" not in text and "<td>7</td>" in text
    assert "a bar" not in text and re.findall(r'(?:src|href)="([^"]+)"', text) == ["plotly.js"]


@pytest.mark.slow
def test_a_notebook_is_executed_and_written_and_stays_as_it_is(build, tmp_path):
    path = tmp_path / "00-small.ipynb"
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("print(6 * 7)")]), path)
    before = path.read_bytes()
    made = build.build(path, tmp_path / "out")
    assert "<pre>42\n</pre>" in made.read_text() and path.read_bytes() == before
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == ["00-small.html", "plotly.js"]
