"""`workbench inside` on a tiny pipeline."""

import pytest

from workbench.cli.main import main


@pytest.mark.parametrize("edit", ["edit", "weights"])
def test_a_page_of_figures_for_any_kind_of_edit(made, capsys, tmp_path, edit):
    out = tmp_path / "inside.html"
    words = ["inside", made / "model", made / edit, "--out", out, "--sae", made / "sae", "--prompt", "a red fox"]
    assert main([*map(str, words), "--seeds", "1"]) == 0
    page = out.read_text()
    assert all(f"<h2>{part}" in page for part in ("Change by layer", "Attention to each token", "Features before"))
    assert "random control" in page and "unet.mid" in page and "a red fox" in page
    assert str(out) in capsys.readouterr().out
    assert main([*map(str, words)]) == 1
    assert "exists already" in capsys.readouterr().err
