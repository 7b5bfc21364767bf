import pandas as pd

from workbench.figures.template import figure
from workbench.reports.pages import write_page


def test_parts_stand_below_their_headings_and_the_plot_library_is_there_once(tmp_path):
    parts = {"Words": "1 < 2", "Numbers": pd.DataFrame({"x": [0.25]}), "A": figure(), "B": figure()}
    path = write_page(tmp_path / "page.html", "a <page>", parts)
    page = path.read_text()
    assert [page.index(f"<h2>{heading}</h2>") for heading in parts] == sorted(
        page.index(f"<h2>{h}</h2>") for h in parts
    )
    assert "<p>1 &lt; 2</p>" in page and "a &lt;page&gt;" in page and "<td>0.25</td>" in page
    assert page.count("Plotly.newPlot") >= 2 and page.count("/*! For license") <= 1
    assert 'src="http' not in page
