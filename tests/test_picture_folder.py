"""Folders of pictures are continued where they stopped, and never hold pictures of two makers."""

import pytest

from saes.errors import WorkbenchError
from workbench.picture_folder import RECORD, generate_into

ASKED = (["a fox", "a dog"], [0, 1, 2])


def made(folder, model, batch_size=2, **sampling):
    return generate_into(folder, model, *ASKED, batch_size=batch_size, **{"steps": 2, **sampling})


def test_what_was_killed_goes_on_where_it_stopped_with_equal_bits(tmp_path, tiny_sd1, monkeypatch):
    whole = made(tmp_path / "whole", tiny_sd1)
    assert [path.name for path in whole] == [f"{prompt:03d}-{seed}.png" for prompt in (0, 1) for seed in (0, 1, 2)]
    generate, calls = type(tiny_sd1).generate, []

    def dying(self, *given, **named):
        calls.append(given)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return generate(self, *given, **named)

    monkeypatch.setattr(type(tiny_sd1), "generate", dying)
    with pytest.raises(KeyboardInterrupt):
        made(tmp_path / "killed", tiny_sd1)
    assert len(list((tmp_path / "killed").glob("*.png"))) == 2
    again = made(tmp_path / "killed", tiny_sd1)
    assert len(calls) == 4  # one made before, one killed, two of the second call
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in whole]
    again[4].unlink()  # of a batch whose other picture is there
    assert [path.read_bytes() for path in made(tmp_path / "killed", tiny_sd1)] == [path.read_bytes() for path in whole]
    assert len(calls) == 5


def test_a_folder_of_other_pictures_is_refused(tmp_path, tiny_sd1, tiny_janus):
    made(tmp_path / "own", tiny_sd1)
    before = {path: path.read_bytes() for path in (tmp_path / "own").iterdir()}
    with pytest.raises(WorkbenchError, match=r"holds pictures made with other steps\. Choose another folder"):
        made(tmp_path / "own", tiny_sd1, steps=3)
    with pytest.raises(WorkbenchError, match="other prompts"):
        generate_into(tmp_path / "own", tiny_sd1, ["a cat"], ASKED[1], steps=2)
    with pytest.raises(WorkbenchError, match="other model"):
        generate_into(tmp_path / "own", tiny_janus, *ASKED)
    assert {path: path.read_bytes() for path in (tmp_path / "own").iterdir()} == before
    (tmp_path / "own" / RECORD).unlink()
    with pytest.raises(WorkbenchError, match="exists already"):
        made(tmp_path / "own", tiny_sd1)


def test_an_edit_in_place_makes_other_pictures(tmp_path, tiny_sd1):
    from workbench.concepts import Concept
    from workbench.erasure.negative_prompt import NegativePrompt

    made(tmp_path / "own", tiny_sd1)
    edit = NegativePrompt().fit(tiny_sd1, [Concept("fox")])
    with tiny_sd1.edited(edit), pytest.raises(WorkbenchError, match="other edits"):
        made(tmp_path / "own", tiny_sd1)


def test_a_setting_that_the_model_does_not_have_is_refused_before_a_folder_is_made(tmp_path, tiny_janus):
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        generate_into(tmp_path / "new", tiny_janus, *ASKED, steps=2)
    with pytest.raises(WorkbenchError, match="temperature"):
        generate_into(tmp_path / "new", tiny_janus, *ASKED, temperature=-1.0)
    assert not (tmp_path / "new").exists()
