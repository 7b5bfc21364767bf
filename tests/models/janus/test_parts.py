"""What stands in one sequence of a Janus is told apart: words, template, begin-of-image token, rows of the picture."""

from itertools import product

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.tiny_janus import CELLS, SIDE
from workbench.activations.positions import Part
from workbench.activations.reading import read
from workbench.hooks import Place, SiteEdit
from workbench.interpret.attribution.places import positions_of
from workbench.interpret.decodability import decodability
from workbench.interpret.necessity import site_necessity
from workbench.models.encoding import Encoding

TEMPLATES = [
    f"{start} {{}}{end}"
    for start, end in product(("a", "a red", "a photo of a blue"), ("", " by dog", " dog", " bear"))
]
WITH, WITHOUT = ([template.format(word) for template in TEMPLATES] for word in ("fox", "cat"))


class Overwriting:
    """Puts 1 at some places of the conditional rows of a site: nothing can be read there."""

    def __init__(self, site, place):
        self.site, self.place = site, place

    def installed(self, model):
        def overwrite(x, clock):
            where = (clock.tokens.places == self.place) & clock.mask("cond")[:, None]
            return torch.where(where[..., None], torch.ones_like(x), x)

        return model.session(edits=[SiteEdit(model.site(self.site), overwrite)])


def test_every_position_of_the_content_is_in_one_part_and_a_picture_has_its_rows(tiny_janus):
    seen = []
    read(tiny_janus, [tiny_janus.site("lm.1")], ["a fox", "a photo of a red cat"], seen.append)
    first, *pictures = seen
    assert set(first.parts) == {Part("text", 0), Part("template", 0), Part("begin of image", 0)}
    total = sum(mask.int() for mask in first.parts.values())
    there = (first.places != Place.ABSENT) & (first.places != Place.BEGIN)
    assert torch.equal(total, there.int()) and total.max() == 1
    rows = [list(reading.parts) for reading in pictures]
    assert rows == [[Part("picture", cell // SIDE)] for cell in range(CELLS - 1)]


def test_probes_are_asked_part_by_part(tiny_janus):
    table = decodability(tiny_janus, WITH, WITHOUT, ["lm.in", "lm.1"]).set_index(["site", "part", "step"])
    parts = [("text", 0), ("template", 0), ("begin of image", 0), *(("picture", row) for row in range(SIDE))]
    assert list(table.index) == [(site, *part) for site in ("lm.in", "lm.1") for part in parts]
    assert table["timestep"].isna().all() and (table["n"] == 24).all()
    assert table.accuracy["lm.in", "text", 0] > 0.8, "the word itself"
    for part in ("template", "begin of image"):
        assert table.accuracy["lm.in", part, 0] == 0.5, "equal in all prompts before the first layer"
    assert table.accuracy["lm.1", "begin of image", 0] > 0.8, "it has read the word"


@pytest.mark.parametrize(("place", "part"), [(Place.WORD, "text"), (Place.END, "begin of image")])
def test_an_edit_of_one_part_is_read_there_and_not_beside_it(tiny_janus, place, part):
    edits = [Overwriting("lm.1", place)]
    table = decodability(tiny_janus, WITH, WITHOUT, ["lm.1"], edits=edits).set_index("part")
    others = {"text", "template", "begin of image"} - {part}
    assert table.accuracy[part] == 0.5 and all(table.transfer[other] == table.accuracy[other] for other in others)


def test_sampling_is_the_models_own_and_what_it_lacks_is_refused(tiny_janus):
    with pytest.raises(WorkbenchError, match="Unknown sampling setting 'steps'"):
        decodability(tiny_janus, WITH, WITHOUT, ["lm.1"], steps=3)


def test_what_all_passes_is_necessary_and_the_picture_is_then_that_of_no_prompt(tiny_janus):
    table = site_necessity(tiny_janus, ["lm.in", "lm.1", "head.in"], ["a fox", "a red cat"]).set_index("site")
    assert table.loc["lm.in", ["moved", "low", "high"]].tolist() == pytest.approx([1, 1, 1])
    assert table.moved["head.in"] == pytest.approx(1) and table.moved["lm.1"] > 0
    with pytest.raises(WorkbenchError, match="without unconditional rows"):
        site_necessity(tiny_janus, ["lm.in"], ["a fox"], guidance_scale=1.0)


def test_a_word_is_found_behind_the_template_and_never_in_it(tiny_janus):
    (row,) = tiny_janus.tokens("a photo of a fox by a fox")
    found = positions_of(tiny_janus, "a photo of a fox by a fox", "fox")
    assert [row.words[position] for position in found] == ["fox", "fox"] and len(found) == 2
    with pytest.raises(WorkbenchError, match="'User' is no word of"):
        positions_of(tiny_janus, "a photo of a fox", "User")
    (own,) = tiny_janus.tokens("User fox")
    assert [own.words[position] for position in positions_of(tiny_janus, "User fox", "fox")] == ["fox"]


def test_what_only_a_denoiser_reads_is_no_prompt(tiny_janus):
    encoding = tiny_janus.encode("a fox")
    assert isinstance(encoding, Encoding)
    for ask in (tiny_janus.generate, tiny_janus.sample_codes):
        with pytest.raises(WorkbenchError, match="Encoding is no prompt that this model reads"):
            ask(encoding, 0)
    with pytest.raises(WorkbenchError, match="Encoding is no prompt"):
        tiny_janus.logits(torch.zeros(1, CELLS, dtype=torch.int64), encoding)
    assert np.isfinite(tiny_janus.hidden(torch.zeros(1, CELLS, dtype=torch.int64), "a fox").detach().numpy()).all()
