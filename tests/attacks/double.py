"""A tiny pipeline in float64, and an edit of every kind on it, with all that it computes in float64 too."""

from dataclasses import replace

import torch

from tests.edits.test_adapter import adapter
from tests.tiny_pipelines import save_tiny
from tests.tiny_saes import random_sae, save_tiny_sae
from workbench.concepts import Concept
from workbench.edits import ComposedEdit, WeightEdit
from workbench.erasure.detect_replace import DetectReplace
from workbench.erasure.itd import ItD
from workbench.erasure.negative_prompt import NegativePrompt
from workbench.erasure.sld import SLD
from workbench.erasure.steerer import ConceptSteerer
from workbench.models import Diffusion, load

FOX = Concept("fox", anchor="cat", retain=["dog", "bear"], templates=("{}", "a photo of a {}"))
GUIDED = ("guidance", "prompt")


def double(kind: str, folder) -> Diffusion:
    """The tiny pipeline of a kind, in float64."""
    model = load(save_tiny(kind, folder / kind), device="cpu")
    model.pipe.to(torch.float64)
    return model


def in_double(edit):
    """The same edit with its numbers in float64, so that finite differences of it are exact enough."""
    return replace(edit, tensors={name: one.double() if one.is_floating_point() else one
                                  for name, one in edit.tensors.items()})  # fmt: skip


def edits(model: Diffusion, folder) -> dict:
    """An edit of each kind; of activations one that acts on all prompts and two that decide."""
    sae = save_tiny_sae(random_sae(model, "text.0").float(), folder / "sae")
    draw = torch.Generator().manual_seed(0)
    weights = [name for name in model.prompt_maps() if ".to_v." in name]
    deltas = {f"{name}:delta": torch.randn(model.parameter(name).shape, generator=draw).double() for name in weights}
    found = {
        "weight": WeightEdit(
            tensors=deltas, settings={}, method="by hand", concepts=["fox"], base_fingerprint=model.fingerprint
        ),
        "activation": in_double(ConceptSteerer(sae=sae, alpha=-3.0).fit(model, [FOX])),
        "itd": in_double(ItD(sae=sae, m=3, strength=-8.0).fit(model, [FOX])),
        "detect_replace": in_double(DetectReplace(sae=sae, m=3).fit(model, [FOX])),
        "adapter": in_double(adapter(model, "fox", "dog", size=0.5)),
        "gated adapter": in_double(adapter(model, "fox", "dog", size=0.5, gate="both")),
        "guidance": SLD(strength="max").fit(model, [FOX]),
        "prompt": NegativePrompt().fit(model, [FOX]),
    }
    return {**found, "composed": ComposedEdit([found["weight"], found["itd"], found["guidance"]])}
