"""One pass over real (tiny) pipelines fills all sites; rows and labels agree with a direct recording."""

import pytest
import torch

from saes import ActivationStore, WorkbenchError
from saes.store import ActivationStore as Store
from workbench.activations.harvest import IMAGE_CHUNK, TEXT_CHUNK, harvest, left_out, padding

PROMPTS = [f"photo of a {word} {i}" for i, word in enumerate(["fox", "cat", "dog", "bear"] * 5)]
TEXT, PIXELS, TOKENS = "text.1", "unet.mid", "unet.down.0.0.attn2"


def rows_in_order(store: Store, site: str):
    """Rows and labels sorted by prompt, call and position, as a dict beside a tensor."""
    rows = torch.cat([block.rows for block in store.blocks(site)])
    labels = store.labels(site)
    keys = [labels[name].double() for name in ("prompt", "call", "position") if name in labels]
    order = sum(key * 10.0 ** (8 - 4 * i) for i, key in enumerate(keys)).argsort()
    return rows[order], {name: column[order] for name, column in labels.items()}


def test_text_rows_are_those_of_every_position_with_their_tokens(tiny_sd1, tmp_path):
    store = harvest(tiny_sd1, PROMPTS, [TEXT], tmp_path / "store", dtype="float32")
    with tiny_sd1.session(record=[TEXT]) as session, torch.no_grad():
        tiny_sd1.encode(PROMPTS)
    (clock, direct), *others = session.records[TEXT]
    rows, labels = rows_in_order(store, TEXT)
    torch.testing.assert_close(rows, direct.flatten(0, 1))
    assert not others and torch.equal(labels["token_id"], clock.token_ids.flatten().int())
    tokenizer = tiny_sd1.pipe.tokenizer
    ids = labels["token_id"].reshape(20, -1)
    assert (ids[:, 0] == tokenizer.bos_token_id).all()  # begin and padding are rows like all others
    assert labels["position"].reshape(20, -1)[3].tolist() == list(range(tokenizer.model_max_length))
    made_by = {"text_encoder": tiny_sd1.identity.parts["text_encoder"]}  # no picture was made: no scheduler
    assert store.manifest.recipe == {"rows": "conditional", "tokens": "all positions", "made by": made_by}


def test_padding_can_be_left_out_and_the_store_says_so(tiny_sd1, tmp_path):
    """ "photo of a fox 11" is a begin token, six words (each digit is one) and the end token: 8 of 12 positions."""
    whole = harvest(tiny_sd1, PROMPTS, [TEXT], tmp_path / "all", dtype="float32")
    tokenizer = tiny_sd1.pipe.tokenizer
    own = [tokenizer(prompt).input_ids for prompt in PROMPTS]
    rows, labels = rows_in_order(whole, TEXT)
    for positions, skip in (("prompt", 0), ("content", 1)):
        store = harvest(tiny_sd1, PROMPTS, [TEXT], tmp_path / positions, dtype="float32", positions=positions)
        few, kept = rows_in_order(store, TEXT)
        assert kept["token_id"].tolist() == [token for ids in own for token in ids[skip:]]
        assert kept["position"].tolist() == [place for ids in own for place in range(skip, len(ids))]
        places = kept["prompt"].long() * tokenizer.model_max_length + kept["position"]
        assert torch.equal(few, rows[places]) and torch.equal(kept["prompt"], labels["prompt"][places])
        assert left_out(store, TEXT) == pytest.approx(1 - len(few) / len(rows))
        assert "padding" not in store.manifest.recipe["tokens"] and store.manifest.recipe != whole.manifest.recipe
    assert left_out(whole, TEXT) == 0
    assert padding(tiny_sd1, TEXT, PROMPTS) == pytest.approx(1 - sum(map(len, own)) / len(rows))
    with pytest.raises(WorkbenchError, match="another recipe"):
        harvest(tiny_sd1, PROMPTS, [TEXT], tmp_path / "all", positions="content", dtype="float32")


def test_pictures_have_no_padding_and_leave_out_what_is_not_drawn(tiny_sd1, tmp_path):
    store = harvest(
        tiny_sd1, PROMPTS[:2], [TEXT, PIXELS], tmp_path / "s", steps=1, pixel_rate=0.25, positions="content"
    )
    assert left_out(store, PIXELS) == 0.75 and padding(tiny_sd1, PIXELS, PROMPTS) == 0
    assert store.rows(PIXELS) == 2 * round(0.25 * tiny_sd1.site(PIXELS).positions) * len(
        set(store.labels(PIXELS)["call"].tolist())
    )
    assert 0 < left_out(store, TEXT) < 1


def test_text_alone_needs_no_denoising(tiny_sd1, tmp_path):
    calls = []
    handle = tiny_sd1.pipe.unet.register_forward_hook(lambda *_: calls.append(1))
    harvest(tiny_sd1, PROMPTS[:2], [TEXT], tmp_path / "text")
    without = len(calls)
    harvest(tiny_sd1, PROMPTS[:2], [TEXT, PIXELS], tmp_path / "both", steps=2)
    handle.remove()
    assert without == 0 and len(calls) >= 2


def test_denoiser_rows_are_the_conditional_ones_of_every_call(tiny_sd1, tmp_path):
    prompts = PROMPTS[:3]
    store = harvest(
        tiny_sd1, prompts, [TOKENS, PIXELS, TEXT], tmp_path / "store", dtype="float32", steps=3, pixel_rate=0.25, seed=5
    )
    with tiny_sd1.session(record=[TOKENS, PIXELS]) as session:
        tiny_sd1.generate(prompts, [5, 6, 7], steps=3)
    for site in (TOKENS, PIXELS):
        rows, labels = rows_in_order(store, site)
        calls = session.records[site]
        for row, prompt, call, timestep, position in zip(
            rows, *(labels[name].tolist() for name in ("prompt", "call", "timestep", "position")), strict=True
        ):
            clock, activation = calls[call]
            assert clock.timestep == timestep and clock.call == call
            torch.testing.assert_close(row, activation[clock.mask("cond")][prompt, position], atol=1e-5, rtol=1e-5)
        positions = tiny_sd1.site(site).positions
        assert len(rows) == 3 * len(calls) * round(0.25 * positions)
        side = positions**0.5
        assert torch.equal(labels["y"] * side + labels["x"], labels["position"].float())
        uncond = calls[0][1][calls[0][0].mask("uncond")]
        assert not torch.allclose(calls[0][1][calls[0][0].mask("cond")], uncond)  # they could have been mixed up
    assert store.rows(TEXT) == 3 * tiny_sd1.site(TEXT).positions  # the empty negative prompt is not among them


def test_drawn_pixels_depend_on_prompt_and_call_but_not_on_the_batch(tiny_sd1, tmp_path):
    options = {"steps": 2, "pixel_rate": 0.1, "dtype": "float32"}
    whole = harvest(tiny_sd1, PROMPTS[: IMAGE_CHUNK + 2], [TOKENS], tmp_path / "whole", **options)
    start = harvest(tiny_sd1, PROMPTS[:2], [TOKENS], tmp_path / "start", **options)
    many, few = rows_in_order(whole, TOKENS), rows_in_order(start, TOKENS)
    torch.testing.assert_close(many[0][: len(few[0])], few[0], atol=1e-4, rtol=1e-4)
    assert torch.equal(many[1]["position"][: len(few[0])], few[1]["position"])
    drawn = few[1]["position"].reshape(4, -1)
    assert len({tuple(row.tolist()) for row in drawn}) == 4


def test_an_interrupted_harvest_goes_on_and_a_finished_one_needs_no_work(tiny_sd1, tmp_path):
    prompts = [f"prompt {i}" for i in range(3 * TEXT_CHUNK)]

    def interrupted(items, label="", total=None):
        yield next(iter(items))
        raise KeyboardInterrupt

    def never(items, label="", total=None):
        assert list(items) == []
        yield from ()

    with pytest.raises(KeyboardInterrupt):
        harvest(tiny_sd1, prompts, [TEXT], tmp_path / "cut", progress=interrupted)
    with pytest.raises(WorkbenchError, match="unfinished: 1 of 3 chunks"):
        ActivationStore.open(tmp_path / "cut")
    resumed = harvest(tiny_sd1, prompts, [TEXT], tmp_path / "cut")
    whole = harvest(tiny_sd1, prompts, [TEXT], tmp_path / "whole")
    assert resumed.fingerprint == whole.fingerprint
    assert (
        harvest(tiny_sd1, prompts, [TEXT], tmp_path / "whole", seed=9, progress=never).fingerprint == whole.fingerprint
    )


def test_a_folder_of_another_request_and_bad_input_are_refused(tiny_sd1, tiny_sd2, tmp_path):
    harvest(tiny_sd1, PROMPTS, [TEXT], tmp_path / "store")
    with pytest.raises(WorkbenchError, match="another model"):
        harvest(tiny_sd2, PROMPTS, [TEXT], tmp_path / "store")
    with pytest.raises(WorkbenchError, match="another prompts_sha256"):
        harvest(tiny_sd1, PROMPTS[:-1], [TEXT], tmp_path / "store")
    with pytest.raises(WorkbenchError, match="Unknown site"):
        harvest(tiny_sd1, PROMPTS, ["text.11"], tmp_path / "other")
    with pytest.raises(WorkbenchError, match="prompts is empty"):
        harvest(tiny_sd1, [], [TEXT], tmp_path / "other")
    with pytest.raises(WorkbenchError, match="No site"):
        harvest(tiny_sd1, PROMPTS, [], tmp_path / "other")
    with pytest.raises(WorkbenchError, match="no share"):
        harvest(tiny_sd1, PROMPTS, [PIXELS], tmp_path / "other", pixel_rate=0.0)
    with pytest.raises(WorkbenchError, match=r"Unknown choice of positions.*content"):
        harvest(tiny_sd1, PROMPTS, [TEXT], tmp_path / "other", positions="contents")
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("kind", ["sdxl", "sd3", "flux"])
def test_every_architecture_fills_a_text_and_a_denoiser_site(tiny, tmp_path, kind):
    model = tiny(kind)
    sites = {site.component: alias for alias, site in model.sites().items() if not alias.endswith("out")}
    store = harvest(model, PROMPTS[:2], list(sites.values()), tmp_path / "store", steps=2, pixel_rate=0.5)
    for alias in sites.values():
        rows = torch.cat([block.rows for block in store.blocks(alias)])
        assert len(rows) == store.rows(alias) > 0 and rows.std() > 0
        assert set(store.labels(alias)["prompt"].tolist()) == {0, 1}
