"""How much memory a training takes, by arithmetic: for any method, any size of model, any precision, on any machine.

A turn is played on a model without numbers (`skeletons`), with the student, the adapters and the graphs that the method
declares (`footprint`), and the bytes of all that is alive are counted (`accounting`). Nothing here is a measurement of
a GPU: convolutions' workspaces, what an allocator holds in reserve, and the context of CUDA come on top.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map_only

from workbench.fitting.accounting import LiveBytes
from workbench.fitting.blueprints import Blueprint
from workbench.fitting.copies import denoiser_parameters, nothing, own_denoiser, own_text_encoder, parameters_of
from workbench.fitting.footprint import Footprint
from workbench.fitting.memory import checkpointed, idle_parts
from workbench.fitting.skeletons import Skeleton, skeleton
from workbench.models import Diffusion
from workbench.models.diffusion import autoencoder
from workbench.models.provenance import networks, tensors_of

MOMENTS, TEMPORARIES = 2, 2  # of Adam: for each weight that is trained; while it goes along one weight
Device = Literal["cpu", "cuda"]


class Peak(NamedTuple):
    """Bytes of a training, by what they are for.

    Args:
        parameters: Of the model, and of an image encoder and adapter beside it.
        waiting: Those of them that are on the CPU meanwhile, to save memory.
        copies: Of parameters that are trained or held, and adapters.
        moments: Adam's.
        gradients: Of all that is trained.
        activations: What the largest graph keeps for its backward pass.
        total: The most that is alive at once. It is less than the sum where gradients come as activations go.
    """

    parameters: int
    waiting: int
    copies: int
    moments: int
    gradients: int
    activations: int
    total: int


def peak_memory(
    footprint: Footprint,
    blueprint: Blueprint,
    dtype: torch.dtype,
    *,
    save_memory: bool = False,
    device: Device = "cuda",
) -> Peak:
    """The memory of a training at its peak, once the optimiser has moments.

    Args:
        footprint: What a method declares (`ErasureMethod.footprint`).
        blueprint: The model.
        dtype: The precision that it is loaded in.
        save_memory: With gradient checkpointing, idle components on the CPU.
        device: By whose rules autocast chooses precisions: "cuda" computes norms in float32.

    Returns:
        Bytes.
    """
    rules = NormsInFloat32 if device == "cuda" else nullcontext
    with skeleton(blueprint, dtype) as bones, ExitStack() as stack:
        live = stack.enter_context(LiveBytes())
        model, beside = bones.model, [*bones.image_prompt] if footprint.image_prompt else []
        parts = [*(part for _, part in networks(model.pipe)), *beside]
        live.count(one for part in parts for _, one in tensors_of(part))
        parameters = live.now
        student, trained = _student(footprint, model, stack)
        copies, before = live.now - parameters, live.now
        waiting = 0
        if save_memory:
            idle = idle_parts(model, needed=_needed(footprint)) + beside[:1]
            waiting = _bytes_of(one for part in idle for _, one in tensors_of(part))
            stack.enter_context(checkpointed(getattr(student.pipe, student.architecture.denoiser.path), rules))
        live.restart()
        stack.enter_context(rules())
        _encode_pictures(footprint, model)
        activations = max([_backward(footprint, bones, student, rows, live) for rows in footprint.graphs])
    gradients, moments = _bytes_of(trained), MOMENTS * _bytes_of(trained)
    step = gradients + TEMPORARIES * max(one.nbytes for one in trained)
    total = parameters - waiting + copies + moments + max(live.peak - before, step)
    return Peak(parameters, waiting, copies, moments, gradients, activations, total)


def drawing_memory(blueprint: Blueprint, dtype: torch.dtype, pictures: int = 16) -> int:
    """The memory of drawing pictures with guidance, which every method does before or after it.

    Args:
        blueprint: The model.
        dtype: The precision that it is loaded in.
        pictures: Of a batch, 1 or more.

    Returns:
        The most bytes that are alive at once, the model's own among them.
    """
    with skeleton(blueprint, dtype) as bones, LiveBytes() as live, torch.no_grad():
        model, side = bones.model, bones.latent_side
        live.count(one for _, part in networks(model.pipe) for _, one in tensors_of(part))
        rows, vae = 2 * pictures, model.pipe.vae
        model.noise_prediction(torch.zeros(rows, vae.config.latent_channels, side, side), 500, bones.encoding(rows))
        upcast = _upcast(vae) if model.kind == "sdxl" else nullcontext()
        with autoencoder.sliced(vae, pictures * model.image_size**2), upcast:
            vae.decode(torch.zeros(pictures, vae.config.latent_channels, side, side, dtype=vae.dtype))
    return live.peak


def _bytes_of(tensors: Iterable[Tensor]) -> int:
    """What distinct tensors take together."""
    return sum(one.nbytes for one in {id(one): one for one in tensors}.values())


class NormsInFloat32(TorchFunctionMode):
    """Under autocast, norms compute in float32, as CUDA's autocast has it and the CPU's has not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Casts the arguments of norms."""
        given: Any = (args, kwargs or {})
        if func in (F.group_norm, F.layer_norm) and torch.is_autocast_enabled("cpu"):
            given = tree_map_only(Tensor, Tensor.float, given)
        return func(*given[0], **given[1])


def _student(footprint: Footprint, model: Diffusion, stack: ExitStack) -> tuple[Diffusion, list[nn.Parameter]]:
    """The handle that is trained, and what of it asks for gradients."""
    if footprint.text is not None:
        teacher = own_text_encoder(model, nothing) if footprint.text_teacher else None  # a copy in half precision alone
        stack.callback(lambda: teacher)
        student = own_text_encoder(model, footprint.text)
        trained = list(parameters_of(student, "text_encoder", footprint.text).values())
        if footprint.trained is not nothing:
            student = own_denoiser(student, footprint.trained)
            trained += denoiser_parameters(student, footprint.trained).values()
    else:
        held = own_denoiser(model, footprint.held)
        student = held if footprint.trained is nothing else own_denoiser(held, footprint.trained)
        stack.callback(lambda: held)  # a teacher stays
        trained = list(denoiser_parameters(student, footprint.trained).values())
    if footprint.attach is not None:
        trained += footprint.attach(student, stack).values()
    for one in trained:
        one.requires_grad_(True)
    return student, trained


def _needed(footprint: Footprint) -> list[str]:
    return (["vae"] if footprint.pictures else []) + (["text_encoder"] if footprint.text else [])


@torch.no_grad()
def _encode_pictures(footprint: Footprint, model: Diffusion) -> None:
    if footprint.pictures:
        side, vae = model.image_size, model.pipe.vae
        with autoencoder.sliced(vae, footprint.pictures * side**2), _upcast(vae):
            vae.encode(torch.zeros(footprint.pictures, 3, side, side, dtype=vae.dtype))


@contextmanager
def _upcast(vae: Any) -> Iterator[None]:
    """As `autoencoder.encode` and SDXL's pipeline do with one that overflows in float16; fakes have no `vae.to`."""
    half = vae.dtype == torch.float16 and vae.config.force_upcast
    for one in vae.parameters() if half else ():
        one.data = one.data.float()
    yield
    for one in vae.parameters() if half else ():
        one.data = one.data.half()


def _backward(footprint: Footprint, bones: Skeleton, student: Diffusion, rows: int, live: LiveBytes) -> int:
    """One graph, made and gone backward. What it kept for that."""
    before, encoding = live.now, bones.encoding(rows)
    if footprint.text is not None:
        ids = torch.zeros(rows, encoding.embeddings.shape[1], dtype=torch.long)
        encoding = replace(encoding, embeddings=student.pipe.text_encoder(ids)[0])
    latents = torch.zeros(rows, student.architecture.latent_channels, bones.latent_side, bones.latent_side)
    loss = student.noise_prediction(latents, torch.full((rows,), 500), encoding).square().mean()
    kept = live.now - before
    loss.backward()
    return kept
