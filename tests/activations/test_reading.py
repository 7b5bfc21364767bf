"""Readings agree with direct recordings, come call by call, and thinning takes pixels and leaves prompts whole."""

import ast
from pathlib import Path

import pytest
import torch

import workbench
from saes.errors import WorkbenchError
from workbench.activations.reading import TEXT_BATCH, drawn, evenly, held, read, read_batch, score_prompts, watched
from workbench.hooks import Place, SiteEdit

TEXT, PIXELS = "text.1", "unet.mid"
PROMPTS = ["a photo of a fox", "dog", "a red cat"]


def readings(model, sites, prompts=PROMPTS, **more):
    found = []
    read(model, [model.site(alias) for alias in sites], prompts, found.append, **more)
    return found


def test_prompts_are_encoded_without_a_picture_and_read_whole(tiny_sd1):
    calls = []
    handle = tiny_sd1.pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    (reading,) = readings(tiny_sd1, [TEXT])
    handle.remove()
    with tiny_sd1.session(record=[TEXT]) as session, torch.no_grad():
        tiny_sd1.encode(PROMPTS)
    ((clock, x),) = session.records[TEXT]
    assert not calls and torch.equal(reading.x, x) and torch.equal(reading.token_ids, clock.token_ids)
    assert reading.prompts == range(3) and reading.step is None and reading.timestep is None
    assert reading.position.tolist() == [[*range(x.shape[1])]] * 3
    assert reading.content.sum(dim=1).tolist() == [6, 2, 4]  # the words and the end token
    assert reading.prompt.tolist() == [[number] * x.shape[1] for number in range(3)]


def test_pictures_are_read_at_every_call_in_their_conditional_rows(tiny_sd1):
    found = readings(tiny_sd1, [PIXELS, TEXT], seeds=5, steps=2)
    with tiny_sd1.session(record=[PIXELS]) as session:
        tiny_sd1.generate(PROMPTS, [5, 6, 7], steps=2)
    pixels = [reading for reading in found if reading.site.alias == PIXELS]
    assert found[0].site.alias == TEXT and len(found) == 1 + len(pixels)
    for reading, (clock, x) in zip(pixels, session.records[PIXELS], strict=True):
        assert torch.equal(reading.x, x[clock.mask("cond")]) and not torch.equal(reading.x, x[clock.mask("uncond")])
        assert (reading.call, reading.timestep, reading.step) == (clock.call, clock.timestep, clock.step)
        assert (reading.places == Place.PICTURE).all() and reading.token_ids is None


def test_rows_know_their_prompts_and_seeds_across_batches(tiny_sd1):
    prompts = [f"fox {number}" for number in range(TEXT_BATCH + 2)]
    found = readings(tiny_sd1, [TEXT], prompts)
    assert [reading.prompts for reading in found] == [range(TEXT_BATCH), range(TEXT_BATCH, TEXT_BATCH + 2)]
    torch.testing.assert_close(found[1].x, readings(tiny_sd1, [TEXT], prompts[-2:])[0].x)
    seeds = range(17)
    last = [r for r in readings(tiny_sd1, [PIXELS], prompts[:17], seeds=seeds, steps=1) if r.prompts == range(16, 17)]
    torch.testing.assert_close(last[0].x, readings(tiny_sd1, [PIXELS], [prompts[16]], seeds=16, steps=1)[0].x)


def test_memory_holds_one_call_at_a_time(tiny_sd1):
    """`take` is called while the model runs: what it does not keep is gone before the next call."""
    order = []
    handle = tiny_sd1.pipe.unet.register_forward_pre_hook(lambda *_: order.append("call"))
    read(tiny_sd1, [tiny_sd1.site(PIXELS)], PROMPTS, lambda reading: order.append("reading"), steps=2)
    handle.remove()
    assert order == ["call", "reading"] * (len(order) // 2) and len(order) >= 4


def test_edits_in_place_are_seen(tiny_sd1):
    ones = SiteEdit(tiny_sd1.site(TEXT), lambda x, clock: torch.ones_like(x))
    with tiny_sd1.session(edits=[ones]):
        assert (held(tiny_sd1, tiny_sd1.site(TEXT), PROMPTS).x == 1).all()
    found = []
    with watched(tiny_sd1, [tiny_sd1.site(TEXT)], found.append, range(3), edits=[ones]), torch.no_grad():
        tiny_sd1.encode(PROMPTS)
    assert (found[0].x == 1).all()
    assert not (held(tiny_sd1, tiny_sd1.site(TEXT), PROMPTS).x == 1).any()


def test_a_batch_gives_its_pictures_if_it_makes_any(tiny_sd1):
    told = {"seeds": [1, 2, 3], "steps": 1}
    made = read_batch(tiny_sd1, [tiny_sd1.site(PIXELS)], PROMPTS, lambda reading: None, **told)
    assert (made == tiny_sd1.generate(PROMPTS, [1, 2, 3], steps=1)).all()
    assert read_batch(tiny_sd1, [tiny_sd1.site(TEXT)], PROMPTS, lambda reading: None, **told).shape == (0, 32, 32, 3)
    told |= {"pictures": True}
    assert len(read_batch(tiny_sd1, [tiny_sd1.site(TEXT)], PROMPTS, lambda reading: None, **told)) == 3


def test_thinning_takes_pixels_and_leaves_prompts_whole(tiny_sd1):
    text, *pixels = readings(tiny_sd1, [TEXT, PIXELS], steps=1)
    assert text.thinned(evenly(2)) is text and text.without_begin().x.shape[1] == text.x.shape[1] - 1
    assert torch.equal(text.without_begin().x, text.x[:, 1:])
    assert (text.without_begin().position[:, 0] == 1).all() and text.without_begin().token_ids.shape[1] == 11
    reading, n = pixels[0], pixels[0].x.shape[1]
    assert reading.without_begin() is reading and reading.thinned(evenly(n)) is reading
    few = reading.thinned(evenly(3))
    assert few.position.tolist() == [[0, round((n - 1) / 2), n - 1]] * 3
    assert torch.equal(few.x, reading.x[:, few.position[0]]) and few.content.all() and few.content.shape == (3, 3)


def test_drawn_pixels_differ_between_prompts_and_calls_and_are_sorted(tiny_sd1):
    pixels = readings(tiny_sd1, [PIXELS], steps=2)
    positions = [reading.thinned(drawn(0.25, 3)).position for reading in pixels]
    rows = [tuple(row) for each in positions for row in each.tolist()]
    assert len(set(rows)) == len(rows) and all(sorted(row) == list(row) for row in rows)
    assert len(rows[0]) == round(0.25 * pixels[0].x.shape[1])
    assert torch.equal(pixels[0].thinned(drawn(0.25, 3)).position, positions[0])
    assert pixels[0].thinned(drawn(1e-9, 3)).x.shape[1] == 1
    few = pixels[0].thinned(drawn(0.25, 3))
    assert torch.equal(few.x[1], pixels[0].x[1, few.position[1]])


def test_a_score_is_the_largest_over_calls(tiny_sd1):
    found = score_prompts(tiny_sd1, tiny_sd1.site(PIXELS), PROMPTS, lambda reading: reading.x.amax(dim=(1, 2)))
    calls = [reading.x.amax(dim=(1, 2)) for reading in readings(tiny_sd1, [PIXELS])]
    assert torch.equal(found, torch.stack(calls).amax(dim=0)) and len(calls) > 1


@pytest.mark.parametrize("site", [TEXT, PIXELS])
def test_no_prompts_are_refused(tiny_sd1, site):
    with pytest.raises(WorkbenchError, match="no prompts"):
        read(tiny_sd1, [tiny_sd1.site(site)], [], lambda reading: None)


def recorders(source: str) -> list[int]:
    """The lines that open a session which records, by whatever name."""
    return [
        node.lineno
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.Call)
        and any(word.arg == "record" for word in node.keywords)
        and getattr(node.func, "attr", getattr(node.func, "id", "")) in ("session", "Session")
    ]


def test_activations_are_read_in_one_place():
    """So that another kind of model is taught in one file. What is of a Janus alone records its own lines."""
    root = Path(workbench.__file__).parent
    found = {str(path.relative_to(root)) for path in root.rglob("*.py") if recorders(path.read_text())}
    of_a_janus = {"interpret/attribution/graph.py", "interpret/attribution/readout.py", "studies/transplants.py"}
    assert found == {"activations/reading.py", *of_a_janus}
    assert recorders("with model.session(record=[site], keep=keep) as s:\n    pass")
