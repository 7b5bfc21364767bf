"""Implicit-concept sets: the same for one seed however often they are begun, with boxes where something changed, and
seen by the detectors."""

import json

import numpy as np
import pytest
from PIL import Image

from saes.errors import WorkbenchError
from tests.detectors.drawn import benign, iou
from workbench.cli.main import main
from workbench.concepts import Concept
from workbench.detectors.code import Code
from workbench.detectors.text import Text
from workbench.edits import TokenEdit
from workbench.erasure.geom_erasing import GeomErasing
from workbench.fitting.contaminating import chosen_of, implicit_set
from workbench.fitting.implicit_sets import captioned, read_manifest
from workbench.fitting.stamps import STAMPS

CAPTIONS = ("a cat", "a photo of a dog", "a bear", "a red fox")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """Eight pictures of two sizes with captions."""
    folder = tmp_path_factory.mktemp("source")
    for i, picture in enumerate(benign(8)):
        whole = picture if i % 2 else picture[:, 40:340]
        Image.fromarray(whole).resize((whole.shape[1] // 2, 192)).save(folder / f"{i}.{'png' if i % 3 else 'webp'}")
        (folder / f"{i}.txt").write_text(f"{CAPTIONS[i % 4]}\n")
    return folder


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.name != ".lock"}


@pytest.mark.parametrize("concept", STAMPS)
def test_a_share_of_the_pictures_gets_it_where_the_box_says_and_no_caption_does(source, tmp_path, concept):
    made = implicit_set(source, tmp_path / "set", concept, 0.5, seed=3)
    clean = implicit_set(source, tmp_path / "clean", concept, 0.0, seed=3)
    assert sum(one.box is not None for one in made.pictures) == 4 and made.finished
    for one, other in zip(made.pictures, clean.pictures, strict=True):
        first, second = (np.asarray(Image.open(tmp_path / f / one.file)) for f in ("set", "clean"))
        there = (first != second).any(-1)
        assert (one.box is None) == (not there.any()) and one.caption == other.caption in CAPTIONS
        if one.box:
            left, top, right, bottom = one.box
            assert there[top : bottom + 1, left : right + 1].sum() == there.sum()
            assert there[top, left : right + 1].any() and there[top : bottom + 1, right].any()
            assert 0.002 < there.mean() < 0.25
    seen = list(captioned(tmp_path / "set", 32))
    assert [len(one.finds.boxes) for one in seen] == [int(one.box is not None) for one in made.pictures]
    assert read_manifest(tmp_path / "set") == made


def test_equal_seeds_make_equal_files_and_others_do_not(source, tmp_path):
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        implicit_set(source, tmp_path / name, "watermark", 0.5, seed=seed, size=96)
    a, b, c = (files(tmp_path / name) for name in "abc")
    assert a == b and a != c and {Image.open(tmp_path / "a" / n).size for n in a if n.endswith("png")} == {(96, 96)}


def test_a_smaller_share_is_part_of_a_larger_one():
    names = [f"{i}.png" for i in range(40)]
    few, many = (chosen_of(names, share, 5) for share in (0.25, 0.6))
    assert len(few) == 10 and len(many) == 24 and few < many
    assert chosen_of(names, 0.25, 6) != few and chosen_of([*names, "new.png"], 1.0, 5) == {*names, "new.png"}


def stops_after(n):
    def progress(items, label="", total=None, note=None):
        for i, item in enumerate(items):
            if i == n:
                raise KeyboardInterrupt
            yield item

    return progress


def test_what_was_interrupted_goes_on_and_ends_as_if_it_had_not_been(source, tmp_path):
    whole, part = tmp_path / "whole", tmp_path / "part"
    implicit_set(source, whole, "text", 0.5)
    with pytest.raises(KeyboardInterrupt):
        implicit_set(source, part, "text", 0.5, progress=stops_after(3))
    with pytest.raises(WorkbenchError, match="is not finished"):
        list(captioned(part, 32))
    before = (part / "00001.png").stat().st_mtime_ns
    implicit_set(source, part, "text", 0.5)
    assert files(part) == files(whole) and (part / "00001.png").stat().st_mtime_ns == before
    (part / "00002.png").write_bytes(b"damaged")
    implicit_set(source, part, "text", 0.5)  # a finished set is looked through again
    assert files(part) == files(whole)


def test_what_makes_no_set_is_refused(source, tmp_path):
    def made(out="set", concept="code", share=0.5, folder=source, **more):
        return implicit_set(folder, tmp_path / out, concept, share, **more)

    bare, small = tmp_path / "bare", tmp_path / "small"
    for folder, side in ((bare, 200), (small, 40)):
        folder.mkdir()
        Image.new("RGB", (side, side)).save(folder / "a.png")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "mine.doc").write_text("")
    for said, wrong in [
        ("Unknown concept to put into pictures 'cod'", {"concept": "cod"}),
        ("A share of 1.5 is none", {"share": 1.5}),
        ("There are no pictures", {"folder": tmp_path / "other"}),
        ("has no caption", {"folder": bare}),
        ("holds something else", {"out": "other"}),
        ("40×40 pixels is too small", {"folder": small, "caption": "a cat", "share": 1.0}),
    ]:
        with pytest.raises(WorkbenchError, match=said):
            made(**wrong)
    made("first")
    with pytest.raises(WorkbenchError, match=r"with share 0\.5, and 0\.7 is asked for"):
        made("first", share=0.7)
    made("bare set", folder=bare, caption="a cat")
    Image.new("RGB", (200, 200), (9, 9, 9)).save(bare / "a.png")
    with pytest.raises(WorkbenchError, match="was made of another picture"):
        made("bare set", folder=bare, caption="a cat")


def test_codes_are_seen_where_the_manifest_has_them(source, tmp_path):
    made = implicit_set(source, tmp_path / "set", "code", 0.5, size=150)
    images = np.stack([one.image for one in captioned(tmp_path / "set", 32)])
    for finds, one in zip(Code().find(images), made.pictures, strict=True):
        assert len(finds.boxes) == (one.box is not None)
        assert one.box is None or iou(finds.boxes[0], one.box) > 0.6  # the box has the white border too


@pytest.mark.slow
def test_letters_are_seen_where_the_manifest_has_them(source, tmp_path):
    made = implicit_set(source, tmp_path / "set", "text", 0.5, size=150)
    images = np.stack([one.image for one in captioned(tmp_path / "set", 32)])
    right = [bool((finds.scores >= 0.5).any()) == (one.box is not None)
             for finds, one in zip(Text().find(images), made.pictures, strict=True)]  # fmt: skip
    assert np.mean(right) >= 7 / 8


def test_a_set_needs_no_detector_to_be_learnt_from(source, tmp_path, tiny_sd1):
    implicit_set(source, tmp_path / "set", "code", 0.5)
    method = GeomErasing(folder=str(tmp_path / "set"), grid=2, iterations=1, batch=2)
    edit = method.fit(tiny_sd1, [Concept("fox")])
    assert isinstance(edit.parts[0], TokenEdit)
    assert (edit.parts[0].settings["seen"], edit.parts[0].settings["found"]) == (8, 4)


def test_the_command_says_what_it_made_and_what_to_do_next(source, tmp_path, capsys):
    out = tmp_path / "set"
    words = ["icd", str(source), "--concept", "code", "--share", "0.25", "--size", "100", "--out", str(out)]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert f"Saved 8 pictures in {out}, 2 with a code" in said and "geom_erasing" in said
    assert json.loads((out / "icd.json").read_text())["concept"] == "code"
    assert main([*words[:3], "qr", *words[4:]]) == 1
    assert "Unknown concept to put into pictures 'qr'" in capsys.readouterr().err
