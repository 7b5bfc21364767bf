"""Memory by arithmetic against memory that was counted in fits, and against sizes that are published."""

from dataclasses import replace

import pytest
import torch

from tests.measuring import turns_of
from tests.tiny_adapters import save_tiny_adapter
from tests.tiny_pipelines import save_tiny
from workbench.concepts import Concept
from workbench.erasure.advunlearn import AdvUnlearn
from workbench.erasure.all_but_one import AllButOne
from workbench.erasure.co_erasing import CoErasing
from workbench.erasure.concept_ablation import ConceptAblation
from workbench.erasure.doco import DoCo
from workbench.erasure.esd import ESD
from workbench.erasure.few_shot import FewShot
from workbench.erasure.geom_erasing import GeomErasing
from workbench.erasure.realera import RealEra
from workbench.erasure.spm import SPM
from workbench.erasure.trce import TRCE
from workbench.fitting.accounting import LiveBytes
from workbench.fitting.blueprints import PUBLISHED, blueprint_of
from workbench.fitting.peak import drawing_memory, peak_memory
from workbench.fitting.selectors import select
from workbench.fitting.skeletons import skeleton
from workbench.models import load
from workbench.models.provenance import networks, tensors_of

FOX = Concept("fox", anchor="cat", retain=["dog", "bear", "blue"], implied=["a photo"], templates=["a photo of a {}"])
IMAGE_ENCODER = {"hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
                 "image_size": 16, "patch_size": 8, "projection_dim": 12}  # fmt: skip
METHODS = {
    "advunlearn": AdvUnlearn(iterations=2, warmup=1, attack_steps=1, retain_batch=3, steps=2),
    "all_but_one": AllButOne(trajectories=1, steps=2, iterations=2, train="esd-u"),
    "co_erasing": CoErasing(images=1, steps=2, text_iterations=1, iterations=2),
    "concept_ablation": ConceptAblation(images=2, iterations=2, batch=2, prior=0.5),
    "doco": DoCo(images=2, iterations=4, warmup=0, batch=2),
    "esd": ESD(iterations=2, steps=2),
    "few_shot": FewShot(pictures=4, epochs=1),
    "geom_erasing": GeomErasing(
        detector="tests.finding:Everywhere", pictures=2, grid=2, iterations=2, removal="data", lr=1e-3
    ),
    "geom_erasing, tokens": GeomErasing(detector="tests.finding:Everywhere", pictures=2, grid=2, iterations=2),
    "realera": RealEra(neighbours=3, beyond=2, lora_steps=2, lora_images=1),
    "spm": SPM(sampler="frozen", trajectories=1, steps=2, iterations=2, warmup=0, anchors=1),
    "trce": TRCE(trajectories=1, unconditional=1, epochs=2, steps=2, early=1, keep_batch=3),
}


@pytest.fixture(scope="module")
def wide(tmp_path_factory):
    folder = save_tiny("sd1", tmp_path_factory.mktemp("wide") / "sd1")
    (folder / "workbench.json").write_text('{"steps": 2, "guidance_scale": 7.5, "image_size": 64}')
    return folder


@pytest.mark.parametrize(
    ("name", "save_memory", "dtype"),
    [*((name, False, torch.float32) for name in METHODS),
     *((name, True, torch.float32) for name in ("concept_ablation", "trce")),
     ("esd", False, torch.bfloat16),
     *((name, True, torch.bfloat16) for name in ("advunlearn", "co_erasing", "few_shot"))],
    ids=str,
)  # fmt: skip
def test_arithmetic_is_within_15_per_cent_of_what_a_fit_takes(wide, name, save_memory, dtype, tmp_path):
    model, method = load(wide, device="cpu", dtype=dtype), replace(METHODS[name], save_memory=save_memory)
    if name == "co_erasing":
        method = replace(method, adapter=str(save_tiny_adapter(model, tmp_path)))
    measured = max(turn.peak for turn in turns_of(lambda: method.fit(model, [FOX]), model))
    blueprint = blueprint_of(model, IMAGE_ENCODER)
    found = peak_memory(method.footprint(model), blueprint, dtype, save_memory=save_memory, device="cpu")
    assert abs(found.total + found.waiting - measured) < 0.15 * measured, "what waits on the CPU was measured too"


@pytest.mark.parametrize("kind", ["sd1", "sd2", "sdxl"])
def test_every_kind_can_be_trained_beside_float16(tiny, kind):
    """Which a CPU cannot play in earnest. Autocast does not concatenate float16 and bfloat16, as SDXL would its pooled
    text: what comes in float16 is cast at the door."""
    blueprint = blueprint_of(tiny(kind), IMAGE_ENCODER)
    with skeleton(blueprint, torch.float16) as bones:
        footprint = ESD().footprint(bones.model)
    half, whole = (peak_memory(footprint, blueprint, dtype) for dtype in (torch.float16, torch.float32))
    assert half.copies == whole.copies and half.parameters < 0.8 * whole.parameters


def test_norms_are_in_float32_where_a_gpu_computes_them(tiny_sd1):
    blueprint = blueprint_of(tiny_sd1, IMAGE_ENCODER)
    with skeleton(blueprint, torch.bfloat16) as bones:
        footprint = ESD().footprint(bones.model)
    gpu, cpu = (peak_memory(footprint, blueprint, torch.bfloat16, device=device) for device in ("cuda", "cpu"))
    assert cpu.activations < gpu.activations < 2 * cpu.activations
    whole = [peak_memory(footprint, blueprint, torch.float32, device=device) for device in ("cuda", "cpu")]
    assert whole[0] == whole[1], "without autocast there is nothing to choose"


def test_drawing_pictures_takes_what_is_told(wide):
    model = load(wide, device="cpu")
    with LiveBytes() as live:
        live.count(one for _, part in networks(model.pipe) for _, one in tensors_of(part))
        model.generate(["a fox"] * 6, range(6), batch_size=6)
    assert abs(drawing_memory(blueprint_of(model), torch.float32, 6) - live.peak) < 0.15 * live.peak


def test_skeletons_have_the_sizes_of_the_published_models():
    """The numbers of parameters of the weight files."""
    sizes = {
        "SD1.4": {"unet": 859_520_964, "vae": 83_653_863, "text_encoder": 123_060_480},
        "SDXL": {"unet": 2_567_463_684, "vae": 83_653_863, "text_encoder": 123_060_480, "text_encoder_2": 694_659_840},
    }
    for name, expected in sizes.items():
        with skeleton(PUBLISHED[name], torch.float16) as bones:
            found = {path: sum(one.numel() for one in part.parameters()) for path, part in networks(bones.model.pipe)}
            assert found == expected and bones.model.kind == {"SD1.4": "sd1", "SDXL": "sdxl"}[name]
            encoder, _ = bones.image_prompt
            assert sum(one.numel() for one in encoder.parameters()) == 632_076_800


def test_saving_memory_takes_less_and_the_parts_are_told(wide):
    """Of a larger share: at sizes that are real, activations are most of what a narrow training takes."""
    blueprint = PUBLISHED["SD1.4"]
    with skeleton(blueprint, torch.float16) as bones:
        footprint = ESD().footprint(bones.model)
        trained = sum(one.numel() for one in select(bones.model, "esd-x").values())
    plain, saved = (peak_memory(footprint, blueprint, torch.float16, save_memory=save) for save in (False, True))
    parameters = 2 * (859_520_964 + 83_653_863 + 123_060_480)
    assert plain.copies == plain.gradients == saved.gradients == 4 * trained and plain.moments == 8 * trained
    assert abs(plain.parameters - parameters) < 1e-3 * parameters, "buffers are few"
    assert plain.waiting == 0 and abs(saved.waiting - 2 * (83_653_863 + 123_060_480)) < 1e6
    assert saved.activations < 0.25 * plain.activations and saved.total < 0.6 * plain.total
    assert plain.total <= sum(plain[:1] + plain[2:-1])


def test_of_the_image_prompt_only_the_encoder_waits_on_the_cpu(tiny_sd1):
    """The adapter is attached to the student at all steps."""
    blueprint = blueprint_of(tiny_sd1, IMAGE_ENCODER)
    with skeleton(blueprint, torch.float32) as bones:
        text = ESD().footprint(bones.model)
        encoder, adapter = (sum(one.nbytes for _, one in tensors_of(part)) for part in bones.image_prompt)
    alone, beside = (
        peak_memory(footprint, blueprint, torch.float32, save_memory=True)
        for footprint in (text, text._replace(image_prompt=True))
    )
    assert beside.parameters - alone.parameters == encoder + adapter and adapter > 0
    assert beside.waiting - alone.waiting == encoder
