"""Files are whole or absent, and what does not belong is refused by name."""

import hashlib
import json
import os
import subprocess
import sys

import pytest
import torch
from safetensors.torch import save_file

from saes.disk import new_folder, read_json, read_tensors, read_text, sha256_of, write_json, write_tensors
from saes.errors import WorkbenchError, unknown_name
from saes.leftovers import contents, sweep
from saes.progress import SILENT


def enter_new_folder(path):
    with new_folder(path):
        pass


def test_json_comes_back_and_leaves_no_temporary_file(tmp_path):
    write_json(tmp_path / "deep" / "a.json", {"näme": [1, 2.5, None]})
    assert read_json(tmp_path / "deep" / "a.json", ["näme"]) == {"näme": [1, 2.5, None]}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    write_json(tmp_path / "a.json", {"v": 1})
    for value, says in ((float("nan"), "not finite"), (-float("inf"), "not finite"), ("\ud800", "half a character")):
        with pytest.raises(WorkbenchError, match=says):
            write_json(tmp_path / "a.json", {"v": value})
    assert read_json(tmp_path / "a.json") == {"v": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"sed": 1}', "'seed'"),  # a misspelt field: the nearest is named
        ("{}", "lacks the field 'seed'"),
        ("[1]", "JSON object"),
        ('{"seed": ', "not valid JSON"),
        ('{"seed": NaN}', "not valid JSON .NaN is no finite number"),
        ('{"seed": -Infinity}', "not valid JSON .-Infinity is no"),
        ('{"seed": 1e999}', "not valid JSON .1e999 is no"),
        ('{"seed": 1, "seed": 2}', "not valid JSON .the key 'seed' stands there twice"),
        ('{"seed": "\\ud800"}', r"half a character .U\+D800"),
        ("[" * 100_000, "not valid JSON"),
        ("9" * 5000, "not valid JSON"),
    ],
)
def test_json_that_does_not_fit_is_refused(tmp_path, text, says):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(WorkbenchError, match=says):
        read_json(tmp_path / "a.json", ["seed"])


@pytest.mark.parametrize("read", [read_text, read_json, read_tensors, sha256_of])
def test_what_cannot_be_read_is_named(tmp_path, read):
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    for name, says in (
        ("gone.x", r"gone\.x does not exist"),
        (".", "is a folder, not a file"),
        ("n" * 300, "Cannot read .*File name too long"),
        ("loop", "Cannot read .*symbolic links"),
    ):
        with pytest.raises(WorkbenchError, match=says):
            read(tmp_path / name)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        ("fox\nfüchsin".encode("latin-1"), r"is not UTF-8 text \(line 2\)"),
        ("a fox".encode("utf-16"), r"is not UTF-8 text \(line 1\)"),
        ("a fox".encode("utf-16-le"), "is not UTF-8 text .it holds zero bytes"),
        (b"\x89PNG\r\n\x1a\n\x00", "is not UTF-8 text"),
    ],
)
def test_another_encoding_is_one_sentence(tmp_path, content, says):
    (tmp_path / "a.txt").write_bytes(content)
    with pytest.raises(WorkbenchError, match=says):
        read_text(tmp_path / "a.txt")


def test_text_is_as_it_was_written_but_for_a_byte_order_mark(tmp_path):
    (tmp_path / "a.txt").write_bytes("\ufefffüchsin\r\nfox\n".encode())
    assert read_text(tmp_path / "a.txt") == "füchsin\r\nfox\n"


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


@pytest.mark.parametrize("write", [lambda p: write_json(p, 1), lambda p: write_tensors(p, {}), enter_new_folder])
def test_a_place_that_cannot_be_written_gives_one_sentence(tmp_path, write):
    (tmp_path / "file").write_text("")  # a file where a folder is needed fails for root as well
    with pytest.raises(WorkbenchError, match=r"Cannot write .*a file is where a folder should be"):
        write(tmp_path / "file" / "inner")
    with pytest.raises(WorkbenchError, match=r"Cannot write .*too long.*Choose a shorter name"):
        write(tmp_path / ("n" * 300))
    write(tmp_path / ("ü" * 120))  # 240 bytes of the 255 that a name may have


# Each library writes more than a file may hold; a full disk fails in the same places.
NO_ROOM = """
import resource, sys
from pathlib import Path
import numpy as np, pandas as pd, torch
from PIL import Image
from safetensors.torch import save_file
from saes.disk import new_folder, replacing, write_json, write_tensors
from saes.errors import WorkbenchError

resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
noise = np.random.default_rng(0).integers(0, 256, (300, 300, 3), dtype=np.uint8)

def inside(write):
    def into(path):
        with new_folder(path) as folder:
            write(folder / "inner")
    return into

def replaced(write):
    def over(path):
        with replacing(path) as temporary:
            write(temporary)
    return over

libraries = {
    "parquet": lambda path: pd.DataFrame({"a": noise.flatten()}).to_parquet(path),
    "png": lambda path: Image.fromarray(noise).save(path, format="png"),
    "numpy": lambda path: np.save(open(path, "wb"), noise),
    "safetensors": lambda path: save_file({"a": torch.zeros(50_000)}, path),
}
writers = {name: replaced(write) for name, write in libraries.items()}
writers["json"] = lambda path: write_json(path, "x" * 100_000)
writers["tensors"] = lambda path: write_tensors(path, {"a": torch.zeros(50_000)})
writers |= {f"{name} in a folder": inside(write) for name, write in libraries.items()}
writers["json in a folder, by its name"] = inside(writers["json"])
for name, write in writers.items():
    try:
        write(Path(sys.argv[1], name))
        print("nothing was raised")
    except WorkbenchError as error:
        print(name, "|", error)
"""


def test_a_lack_of_room_is_one_sentence_whichever_library_writes(tmp_path):
    done = subprocess.run([sys.executable, "-c", NO_ROOM, tmp_path], check=True, capture_output=True, text=True)
    sentences = done.stdout.splitlines()
    assert len(sentences) == 11
    for sentence in sentences:
        name, says = sentence.split(" | ")
        inner = "/inner" * name.endswith("by its name")
        assert says.startswith(f"Cannot write {tmp_path / name}{inner} (") and "room" in says, sentence
        assert "part" not in says, sentence
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o027, 0o640), (0o077, 0o600)])
def test_files_are_as_readable_as_the_umask_says(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        write_json(tmp_path / "a.json", 1)
        write_tensors(tmp_path / "a.safetensors", {})
        with new_folder(tmp_path / "a") as folder:
            save_file({}, folder / "b.safetensors")  # as diffusers does when it saves a pipeline
    finally:
        os.umask(before)
    for name in ("a.json", "a.safetensors", "a/b.safetensors"):
        assert (tmp_path / name).stat().st_mode & 0o777 == mode, name
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o777 & ~umask


def test_what_kills_left_is_told_from_what_belongs(tmp_path):
    assert contents(tmp_path / "nowhere") == set()
    kept = {"run.json", ".hidden", "mine.part", ".tmp", ".half.part"}
    left = {".run.json.0123abcd.part", ".tmpaB3dE6", ".lock"}
    for name in kept | left:
        (tmp_path / name).touch()
    (tmp_path / "edits" / ".e.0123abcd.part" / "0").mkdir(parents=True)
    for folder in ("free", "busy"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / ".a.0123abcd.part").touch()
    (tmp_path / "busy" / ".lock").touch()
    assert contents(tmp_path) == kept | {"edits", "free", "busy"}
    sweep(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == kept | {"edits", "free", "busy", ".lock"}
    assert not list((tmp_path / "edits").iterdir()) and not list((tmp_path / "free").iterdir())
    assert len(list((tmp_path / "busy").iterdir())) == 2  # somebody may be writing there


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
