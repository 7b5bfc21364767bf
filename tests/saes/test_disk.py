"""Files are whole or absent, and what does not belong is refused by name."""

import hashlib
import json

import pytest
import torch

from saes.disk import new_folder, read_json, read_tensors, sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT


def test_json_comes_back_and_leaves_no_temporary_file(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"näme": [1, 2.5, None]})
    assert read_json(tmp_path / "deep" / "a.json", ["näme"]) == {"näme": [1, 2.5, None]}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"v": 1})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"v": float("nan")})
    assert read_json(tmp_path / "a.json") == {"v": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"sed": 1}', "'seed'"),  # a misspelt field: the nearest is named
        ("{}", "lacks the field 'seed'"),
        ("[1]", "JSON object"),
        ('{"seed": ', "not valid JSON"),
    ],
)
def test_json_that_does_not_fit_is_refused(tmp_path, text, says):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(WorkbenchError, match=says):
        read_json(tmp_path / "a.json", ["seed"])


def test_absent_files_are_named(tmp_path):
    for read in (read_json, read_tensors):
        with pytest.raises(WorkbenchError, match=r"gone\.x does not exist"):
            read(tmp_path / "gone.x")


def test_tensors_come_back_bit_equal_even_if_they_share_memory(tmp_path):
    base = torch.randn(4, 6)
    write_tensors(tmp_path / "t.safetensors", {"a": base, "view": base.T, "half": base.half()})
    back = read_tensors(tmp_path / "t.safetensors")
    assert torch.equal(back["a"], base) and torch.equal(back["view"], base.T) and torch.equal(back["half"], base.half())


def test_a_truncated_tensor_file_is_named(tmp_path):
    path = tmp_path / "t.safetensors"
    write_tensors(path, {"a": torch.zeros(100)})
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(WorkbenchError, match=r"t\.safetensors is not a whole safetensors file"):
        read_tensors(path)


def test_a_new_folder_appears_only_after_a_clean_exit(tmp_path):
    with pytest.raises(KeyboardInterrupt), new_folder(tmp_path / "run") as folder:
        (folder / "half.txt").write_text("half")
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []
    with new_folder(tmp_path / "run") as folder:
        (folder / "whole.txt").write_text("whole")
        assert not (tmp_path / "run").exists()
    assert (tmp_path / "run" / "whole.txt").read_text() == "whole"
    with pytest.raises(WorkbenchError, match="exists already"), new_folder(tmp_path / "run"):
        pass


def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path):
    (tmp_path / "file").write_text("")  # a file where a folder is needed fails for root as well
    for write in (lambda p: write_json(p, 1), lambda p: new_folder(p).__enter__()):
        with pytest.raises(WorkbenchError, match="Cannot write"):
            write(tmp_path / "file" / "inner")


def test_sha256_is_that_of_the_bytes(tmp_path):
    (tmp_path / "f").write_bytes(b"abc" * 1000)
    assert sha256_of(tmp_path / "f") == hashlib.sha256(b"abc" * 1000).hexdigest()


def test_an_unknown_name_gets_the_nearest_valid_one():
    error = unknown_name("site", "text.22", ["text.2", "unet.mid"])
    assert str(error) == "Unknown site 'text.22'. Did you mean 'text.2'?"
    assert "Valid names: a, b." in str(unknown_name("site", "zzz", ["b", "a"]))
    assert "no site here" in str(unknown_name("site", "zzz", []))


def test_silent_progress_passes_items_on():
    assert list(SILENT(iter([1, 2]), "label", total=2)) == [1, 2]
    assert json.dumps(list(SILENT([]))) == "[]"
