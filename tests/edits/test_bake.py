"""Baking and un-baking: plain diffusers draws what the edited model draws, and subtraction gives the weights back."""

import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

import workbench as wb
from saes.errors import WorkbenchError
from tests.tiny_pipelines import GUIDANCE, save_tiny
from workbench.edits import ComposedEdit
from workbench.edits.bake import ulp
from workbench.erasure.uce import UCE

FOX = wb.Concept("fox", anchor="cat", retain=["dog"])
BEAR = wb.Concept("bear", anchor="dog", retain=["cat"])
PLAIN = """
import json, sys
import numpy as np, torch
from diffusers import DiffusionPipeline
for folder, noise, out, arguments in json.loads(sys.argv[1]):
    pipe = DiffusionPipeline.from_pretrained(folder, use_safetensors=True)
    latents = torch.from_numpy(np.load(noise))
    if "Flux" in type(pipe).__name__:
        latents, arguments["max_sequence_length"] = pipe._pack_latents(latents, *latents.shape), 16
    image = pipe(prompt="a photo of fox", latents=latents, num_inference_steps=3, output_type="np", **arguments).images
    np.save(out, (image * 255).round().astype("uint8"))
ours = [name for name in sys.modules if name.split(".")[0] in ("workbench", "saes", "probes")]
assert not ours, ours
"""


def plainly_drawn(models, tmp_path):
    """Images of "a photo of fox" by diffusers alone, in a process of its own, from the noise of seed 3."""
    told = []
    for name, model in models.items():
        np.save(tmp_path / f"{name}-noise.npy", model.noise([3]).numpy())
        size = {"height": model.image_size, "width": model.image_size, "guidance_scale": model.defaults.guidance_scale}
        told.append([*(str(tmp_path / f"{name}{end}") for end in ("", "-noise.npy", "-image.npy")), size])
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, json.dumps(told)], cwd=tmp_path, capture_output=True, text=True,
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "HOME": str(tmp_path), "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {name: np.load(tmp_path / f"{name}-image.npy").astype(int) for name in models}


def drawn(model, *edits):
    with model.edited(*edits):
        return model.generate("a photo of fox", 3, steps=3)


@pytest.mark.parametrize("kind", GUIDANCE)
def test_a_baked_folder_loads_and_draws_as_the_edited_model(tiny, kind, tmp_path):
    model = tiny(kind)
    edit = UCE().fit(model, [FOX])
    baked = wb.load(wb.bake(model, edit, tmp_path / "baked"), device="cpu")
    assert baked.kind == kind and baked.defaults == model.defaults
    assert np.array_equal(drawn(baked), drawn(model, edit))
    assert not np.array_equal(drawn(baked), drawn(model))


@pytest.mark.slow
def test_plain_diffusers_draws_the_same_without_this_package(tiny_flux, tmp_path):
    models = {"toy": wb.load("toy", device="cpu"), "flux": tiny_flux}
    edits = {name: UCE().fit(model, [FOX]).scaled(30.0 if name == "flux" else 1.0) for name, model in models.items()}
    for name, model in models.items():
        wb.bake(model, edits[name], tmp_path / name)
    for name, image in plainly_drawn(models, tmp_path).items():
        assert np.abs(image - drawn(models[name], edits[name])).max() <= 1
        assert np.abs(image - drawn(models[name])).max() > 1


def test_the_lineage_names_the_model_and_every_edit(tiny_sd1, tmp_path):
    edits = [UCE().fit(tiny_sd1, [FOX]), UCE(tokens="last").fit(tiny_sd1, [BEAR], seed=2)]
    wb.bake(tiny_sd1, ComposedEdit(edits), tmp_path / "baked")
    lineage = json.loads((tmp_path / "baked/baked.json").read_text())
    assert lineage["base"] == {"name": tiny_sd1.name, "fingerprint": tiny_sd1.fingerprint, "as_loaded": True}
    assert [(step["factor"], step["method"], step["concepts"], step["seed"]) for step in lineage["steps"]] == [
        (1, "uce", ["fox"], 0), (1, "uce", ["bear"], 2),
    ]  # fmt: skip
    assert lineage["steps"][1]["settings"]["tokens"] == "last"
    edits[0].save(tmp_path / "edit")
    saved = json.loads((tmp_path / "edit/edit.json").read_text())
    assert lineage["steps"][0]["tensors_sha256"] == saved["tensors_sha256"]
    again = wb.load(tmp_path / "baked", device="cpu")
    wb.bake(again, UCE().fit(again, [FOX]), tmp_path / "twice")
    twice = json.loads((tmp_path / "twice/baked.json").read_text())
    assert twice["base"] == lineage["base"] and len(twice["steps"]) == 3


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_unbaking_misses_each_weight_by_at_most_one_ulp(tmp_path, dtype):
    base = wb.load(save_tiny("sd1", tmp_path / "base"), device="cpu", dtype=dtype)
    edit = UCE().fit(base, [FOX])
    baked = wb.load(wb.bake(base, edit, tmp_path / "baked"), device="cpu", dtype=dtype)
    undone = wb.unbake(baked, edit, tmp_path / "undone")
    back = wb.load(tmp_path / "undone", device="cpu", dtype=dtype)
    errors = []
    for name in edit.names:
        before, between, after = (model.parameter(name).detach() for model in (base, baked, back))
        assert not torch.equal(before, between)
        error = (after.double() - before.double()).abs()
        assert bool((error <= (ulp(between) + ulp(after)) / 2).all())
        errors.append(float(error.max()))
    assert 0 < max(errors) <= undone.bound < 1e-2 and not undone.bit_equal
    lineage = json.loads((tmp_path / "undone/baked.json").read_text())
    assert [step["factor"] for step in lineage["steps"]] == [1, -1]


def test_unbaking_is_bit_equal_where_nothing_is_rounded(tiny_sd1, tmp_path):
    """A weight turned around and back: W − 2W and −W + 2W are exact."""
    name = next(iter(tiny_sd1.prompt_maps()))
    tensors = {f"{name}:delta": -2 * tiny_sd1.parameter(name).detach()}
    edit = replace(UCE().fit(tiny_sd1, [FOX]), tensors=tensors)
    baked = wb.load(wb.bake(tiny_sd1, edit, tmp_path / "baked"), device="cpu")
    assert torch.equal(baked.parameter(name), -tiny_sd1.parameter(name))
    undone = wb.unbake(baked, edit, tmp_path / "undone")
    assert undone.bit_equal and 0 < undone.bound < 1e-6
    assert wb.load(tmp_path / "undone", device="cpu").fingerprint == tiny_sd1.fingerprint


def foxless(model, fox):
    """The weights under one edit alone."""
    with model.edited(fox):
        return {name: model.parameter(name).detach().clone() for name in fox.names}


def test_one_of_two_edits_is_taken_out(tiny_sd1, tmp_path):
    fox, bear = (UCE().fit(tiny_sd1, [concept]).scaled(30.0) for concept in (FOX, BEAR))
    baked = wb.load(wb.bake(tiny_sd1, [fox, bear], tmp_path / "baked"), device="cpu")
    undone = wb.unbake(baked, fox, tmp_path / "bear")
    assert not undone.bit_equal and undone.bound is None, "bear was added to weights that had been rounded with fox"
    last = wb.unbake(baked, bear, tmp_path / "fox")
    assert last.bound is not None
    errors = [
        (wb.load(tmp_path / "fox", device="cpu").parameter(name) - weight).abs().max().item()
        for name, weight in foxless(tiny_sd1, fox).items()
    ]
    assert max(errors) <= last.bound
    left = wb.load(tmp_path / "bear", device="cpu")
    assert np.abs(drawn(left).astype(int) - drawn(tiny_sd1, bear)).max() <= 1
    assert np.abs(drawn(left).astype(int) - drawn(tiny_sd1, fox, bear)).max() > 1
    with pytest.raises(WorkbenchError, match=r"edit of fox is not baked into .*Baked were: uce of fox; uce of bear"):
        wb.unbake(left, fox, tmp_path / "again")
    with pytest.raises(WorkbenchError, match="was not baked"):
        wb.unbake(tiny_sd1, fox, tmp_path / "again")


def test_the_ulp_is_the_distance_to_the_next_number():
    for dtype in (torch.float32, torch.bfloat16):
        x = torch.tensor([1.0, -1.5, 3.0, 1e-3, 0.0, 1000.0, 1e-39], dtype=dtype)
        ahead = torch.nextafter(x.abs(), torch.tensor(torch.inf, dtype=dtype))
        assert torch.equal(ulp(x), ahead.double() - x.abs().double())
    assert ulp(torch.tensor([1.0, 0.0], dtype=torch.float16)).tolist() == [2.0**-10, 2.0**-24]


def test_what_cannot_be_baked_is_refused_and_leaves_nothing(tiny_sd1, tiny_sd2, edit, tmp_path):
    fox = UCE().fit(tiny_sd1, [FOX])
    for model, edits, says in (
        (tiny_sd1, edit, "acts while the model runs and is not in weights. Use it with"),
        (tiny_sd1, [fox, edit], "acts while the model runs"),
        (tiny_sd1, ComposedEdit([fox, edit]), "acts while the model runs"),
        (tiny_sd2, fox, "was fitted on another model"),
        (tiny_sd1, [], "no edit to bake"),
    ):
        with pytest.raises(WorkbenchError, match=says):
            wb.bake(model, edits, tmp_path / "new")
        assert not list(tmp_path.iterdir())
    with tiny_sd1.edited(fox), pytest.raises(WorkbenchError, match="edited already"):
        wb.bake(tiny_sd1, fox, tmp_path / "new")
    (tmp_path / "new").mkdir()
    with pytest.raises(WorkbenchError, match="exists already"):
        wb.bake(tiny_sd1, fox, tmp_path / "new")
    assert not list((tmp_path / "new").iterdir())
