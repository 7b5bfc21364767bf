"""What a console or a notebook shows: a line for each object, a table, two sentences of an error, and nothing of what
other libraries have to say."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from tests.evaluation.drawn import drawn_run, suite
from workbench.activations.harvest import harvest
from workbench.concepts import Concept
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.uce import UCE

ROOT = Path(__file__).parents[1]
FOX = Concept("fox", anchor="cat")


@pytest.fixture
def objects(tiny_sd1, tmp_path):
    return {
        "Diffusion": tiny_sd1,
        "ActivationStore": harvest(tiny_sd1, ["a fox", "a cat"], ["text.1"], tmp_path / "store"),
        "Run": drawn_run(tmp_path / "run", {"itd": lambda row: row.expected}, suite()),
        "WeightEdit": UCE().fit(tiny_sd1, [FOX]),
        "PromptEdit": NegativePrompt().fit(tiny_sd1, [FOX]),
    }


def test_every_object_is_a_line_in_a_console_and_a_table_in_a_notebook(objects):
    for name, value in objects.items():
        line = repr(value)
        assert name in line and len(line) < 300 and "\n" not in line and " object at 0x" not in line, line
        assert value._repr_html_().startswith("<table>") and value._repr_html_().endswith("</table>")
    assert "red under unedited, itd" in repr(objects["Run"]) and "2 prompts, text.1" in repr(objects["ActivationStore"])


def test_a_notebook_shows_the_two_sentences_of_an_error_and_still_has_its_frames():
    shell = InteractiveShell.instance()
    try:
        with capture_output() as shown:
            shell.run_cell("import workbench as wb\nwb.find_method('uze')")
        plain = re.sub(r"\x1b\[[0-9;]*m", "", shown.stdout).strip().splitlines()
        assert plain == ["WorkbenchError: Unknown method 'uze'.", "Did you mean 'uce'?"]
        assert sys.last_value.problem and sys.last_traceback is not None  # for %debug
    finally:
        InteractiveShell.clear_instance()


def test_loading_a_model_says_nothing(tmp_path):
    code = "import workbench as wb; wb.load('toy').generate('a fox', 1, steps=1)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")


@pytest.mark.slow
def test_the_python_of_the_readme_runs_as_it_stands(tmp_path):
    (block,) = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    small = block.replace('toy.suite("fox", 16, 0)', 'toy.suite("fox", 1, 0)')  # sixteen a role take minutes
    assert small != block
    done = subprocess.run(
        [sys.executable, "-c", small], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "harmonic_mean" in done.stdout and (tmp_path / "out/first/report.html").is_file()
