"""`workbench sweep` from a file to a table and a page."""

import json

from workbench.cli.main import main

FILE = """
model: {model}
prompts: {prompts}
sites: [text.1]
recovered: 2
base: {{d_sae: 32, samples: 640, batch_size: 32, k: 3}}
vary: {{seed: [0, 1]}}
"""


def test_a_sweep_prints_its_table_and_leaves_a_page(made, tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text(FILE.format(model=made / "model", prompts=made / "prompts.txt"))
    words = ["sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "out")]
    assert main([*words, "--json"]) == 0
    shown = capsys.readouterr()
    rows = json.loads(shown.out)
    assert [row["sae"] for row in rows] == ["text.1/seed0", "text.1/seed1"]
    assert rows[0]["explained_variance"] != rows[1]["explained_variance"]
    assert all(0 < row["l0"] <= 3 and row["loss_recovered"] is not None for row in rows)
    assert str(tmp_path / "out/sweep.html") in shown.err and (tmp_path / "out/sweep.html").exists()
    assert main(words) == 0
    assert "text.1/seed1" in capsys.readouterr().out


def test_captions_can_be_drawn_for_the_toy_alone(made, tmp_path, capsys):
    (tmp_path / "sweep.yaml").write_text(FILE.format(model=made / "model", prompts=10))
    assert main(["sweep", str(tmp_path / "sweep.yaml"), "--out", str(tmp_path / "out")]) == 1
    assert "Only the toy has captions" in capsys.readouterr().err and not (tmp_path / "out").exists()


def test_a_missing_file_is_a_sentence(tmp_path, capsys):
    assert main(["sweep", str(tmp_path / "none.yaml"), "--out", str(tmp_path / "out")]) == 1
    assert "does not exist" in capsys.readouterr().err
