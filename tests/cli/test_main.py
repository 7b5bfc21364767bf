"""The frame of the command line: exit codes, one sentence for an error, options from files, and help with examples."""

import json
import re

import pytest

from saes.errors import WorkbenchError
from workbench.cli import main as cli
from workbench.cli.main import main


def told(capsys, *words):
    """Exit code and all that was printed."""
    code = main(list(words))
    shown = capsys.readouterr()
    return code, shown.out + shown.err


def test_help_is_no_error_and_gives_an_example_for_every_command(capsys):
    code, text = told(capsys, "--help")
    assert code == 0 and "workbench demo" in text
    for command in cli.COMMANDS:
        code, text = told(capsys, command.__name__, "--help")
        assert code == 0 and re.search(rf"Example:\s+workbench {command.__name__}\b", text), command.__name__
    for group, command in (
        ("toy", "train"),
        ("toy", "report"),
        ("toy", "render"),
        ("edits", "list"),
        ("edits", "show"),
    ):
        code, text = told(capsys, group, command, "--help")
        assert code == 0 and f"workbench {group} {command}" in text


@pytest.mark.parametrize("words", ["fnd", "erase toy", "generate toy fox --count 0", "runs --x"])
def test_wrong_usage_exits_with_2(capsys, words):
    assert told(capsys, *words.split())[0] == 2


def test_an_error_is_two_sentences_on_the_error_stream_and_exit_code_1(capsys):
    assert main(["generate", "toy"]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "Error: There are no prompts. Give one in quotes, or a file with --prompts-file.\n"


@pytest.mark.parametrize("words", [("--debug", "generate", "toy"), ("generate", "toy", "--debug")])
def test_debug_shows_the_error_itself_wherever_it_stands(words):
    with pytest.raises(WorkbenchError, match="There are no prompts"):
        main(list(words))


def test_a_fault_of_ours_is_said_to_be_one():
    assert cli.fault(ZeroDivisionError("by zero")).startswith("ZeroDivisionError: by zero. This is a fault")


def test_a_file_sets_options_and_flags_win(capsys, tmp_path):
    config = tmp_path / "generate.yaml"
    config.write_text(f"prompts_file: {tmp_path / 'a.txt'}\n")
    assert "a.txt" in told(capsys, "generate", "toy", "--config", str(config))[1]
    text = told(capsys, "generate", "toy", "--config", str(config), "--prompts-file", str(tmp_path / "b.txt"))[1]
    assert "b.txt" in text and "a.txt" not in text
    config.write_text(f"model: toy\nprompts_file: {tmp_path / 'a.txt'}\n")  # arguments too
    assert "a.txt" in told(capsys, "generate", "--config", str(config))[1]


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("cuont: 3\n", 1, "Unknown key 'cuont'. Did you mean 'count'"),
        ("count: many\n", 2, "--count"),
        ("guidance-scale: 3\n", 1, "Did you mean 'guidance_scale'?"),
        ("[1, 2]\n", 1, "should hold a mapping"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(capsys, tmp_path, text, code, says):
    config = tmp_path / "a.yaml"
    config.write_text(text)
    got, shown = told(capsys, "generate", "toy", "a fox", "--config", str(config))
    assert got == code and says in shown


def test_runs_below_a_folder_are_a_table_or_json(capsys, tmp_path):
    assert "none" in told(capsys, "runs", str(tmp_path))[1]
    code, text = told(capsys, "runs", str(tmp_path), "--json")
    assert code == 0 and json.loads(text) == []


def test_a_file_gives_the_settings_of_a_method_as_a_mapping(capsys, tmp_path):
    config = tmp_path / "erase.yaml"
    config.write_text(f"concepts: [fox]\nout: {tmp_path / 'edit'}\nsettings: {{m: 8, strenght: -4}}\n")
    code, text = told(capsys, "erase", "toy", "--config", str(config))
    assert code == 1 and "method itd: Unknown key 'strenght'. Did you mean 'strength'" in text


@pytest.mark.parametrize("words", ["--method esd --help", "--help --method esd", "toy fox --method=esd --help"])
def test_the_help_of_erase_explains_the_settings_of_the_method_that_is_named(capsys, words):
    code, text = told(capsys, "erase", *words.split())
    assert code == 0 and "Take concepts out of a model" in text and "Settings of esd" in text
    line = next(line for line in text.splitlines() if line.startswith(" negative_guidance"))
    assert line.split()[:3] == ["negative_guidance", "float", "1.0"] and "η of (2)" in line
    assert text.index("Take concepts out") < text.index("Settings of esd")


def test_without_a_method_no_settings_are_explained_and_an_unknown_one_names_the_nearest(capsys):
    assert "Settings of" not in told(capsys, "erase", "--help")[1]
    code, text = told(capsys, "erase", "--method", "esdd", "--help")
    assert code == 1 and "'esd'" in text


def test_the_settings_of_a_method_are_also_json(capsys):
    assert main(["methods", "negative_prompt", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["setting"] for row in rows] == ["synonyms"] and rows[0].keys() == {
        "setting", "type", "default", "toy", "what"
    }  # fmt: skip
