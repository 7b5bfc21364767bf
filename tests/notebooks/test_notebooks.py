"""The notebooks run from clean, as a reader would run them, and are committed without outputs."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from workbench import toy
from workbench.comparison.measured import read_measured

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
FIGURE = "application/vnd.plotly.v1+json"


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    cells = [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert len(cells) == 10
    assert not [cell for cell in cells if cell.outputs or cell.execution_count]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stem", "figures"),
    [
        ("01-find-and-erase", 5),
        ("02-closed-form-editing", 4),
        ("03-training-autoencoders", 5),
        ("04-features-and-neighbours", 6),
        ("05-attribution", 8),
        ("06-a-study", 5),
        ("07-every-family", 6),
        ("08-is-it-really-gone", 6),
        ("09-autoregressive", 8),
        ("10-your-own-model", 6),
    ],
)
def test_a_notebook_runs_from_clean_and_shows_its_figures(tmp_path, stem, figures):
    (path,) = (path for path in NOTEBOOKS if path.stem == stem)
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [output for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    if stem == "07-every-family" and not read_measured(toy.path().parent)["rows"]:
        figures -= 1  # the last cell says that no table was made on these weights
    saved = [output.data for output in shown if FIGURE in output.data]
    assert len(saved) == figures and all("text/html" in one for one in saved), "figures survive an export to HTML"
    assert not list(tmp_path.iterdir())  # a reader's folder stays as it was
