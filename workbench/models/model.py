"""The one handle on a text-to-image pipeline, whatever its architecture."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.hooks import AttentionSite, Role, Session, Site, SiteEdit, Wiring
from workbench.hooks.session import Keep
from workbench.identity import Identity, hashed
from workbench.models.architecture import Architecture, Defaults, Latents, Reads
from workbench.models.diffusion import autoencoder
from workbench.models.diffusion.autoencoder import Images
from workbench.models.diffusion.guiding import Branch, Guiding, guided
from workbench.models.diffusion.prediction import to_noise
from workbench.models.diffusion.sampling import Cell, draw, pair
from workbench.models.encoding import Encoding, TokenRow, token_row
from workbench.models.provenance import Provenance, components, digest_of, parts_of, state_of
from workbench.models.shifting import shifted


@runtime_checkable
class Change(Protocol):
    """What `Model.edited` asks of an edit."""

    def installed(self, model: Any) -> AbstractContextManager:
        """In place while the block runs; afterwards the model is exactly as before."""
        ...


class Model:
    """A loaded pipeline. Made by `load`; nothing here changes its weights.

    `kind` is "sd1", "sd2", "sdxl", "sd3" or "flux". `pipe` is the diffusers pipeline itself, for everything that this
    handle does not offer. Gradients flow through `encode` and `noise_prediction` to whatever asks for them.
    """

    def __init__(self, name: str, architecture: Architecture, defaults: Defaults, provenance: Provenance) -> None:
        self.name = name
        self.kind = architecture.kind
        self.pipe = architecture.pipe
        self.architecture = architecture
        self.defaults = defaults
        self.wiring = Wiring(self.module, architecture.components)
        self.guiding = Guiding()  # what edits in place do to guidance
        self.provenance = provenance
        self._in_place: list[Change] = []  # edits of the blocks of `edited` that are open, in their order
        self._composing = False  # whether fits belong into the open blocks
        self._weights = ""  # the fingerprint at the beginning of the outermost block

    @property
    def device(self) -> torch.device:
        """Where the denoiser is."""
        return getattr(self.pipe, self.architecture.denoiser.path).device

    @property
    def folder(self) -> Path:
        """Where it was loaded from; for a hub id, the folder in the hub's cache."""
        return next(iter(self.provenance.files.values()))[0].parents[1]

    @property
    def is_edited(self) -> bool:
        """Whether a block of `edited` is open."""
        return bool(self._weights)

    @property
    def image_size(self) -> int:
        """The side of the square images, in pixels."""
        return self.defaults.image_size

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights as they are now: what edits and autoencoders are fitted on.

        Unchanged since loading it is the hash over the weight files, the same in every process and on every machine.
        Adapters, fused or edited weights and added tokens make it another one. Inside `edited` it is that of the model
        before the edits.
        """
        return self._weights if self.is_edited else self.provenance.fingerprint(self.pipe)

    @property
    def identity(self) -> Identity:
        """Everything that decides a picture or an activation, as it is now: what results are filed under.

        Besides the weights: configuration, structure and dtype of every network, scheduler, image size, and the edits
        in place. Cheap while nothing changes.
        """
        parts = parts_of(self.pipe, self.image_size)
        if self.is_edited:
            parts["edits"] = hashed([digest_of(edit) for edit in self._in_place])
        return Identity(self.fingerprint, parts)

    def prompt_state(self) -> tuple:
        """What changes whenever prompts would be encoded otherwise; to compare, not to keep. Cheap."""
        encoders = {part.path for part in self.architecture.components if part.kind == "prompt"}
        found = components(self.pipe)
        return tuple((name, *state_of(part)) for name, part in found if name in encoders or "tokenizer" in name)

    def twin(self, architecture: Architecture) -> "Model":
        """A second handle, on a pipeline that shares components with this one; edits in place count for both."""
        twin = Model(self.name, architecture, self.defaults, self.provenance.of_twin())
        twin._in_place, twin._weights, twin._composing = self._in_place, self._weights, self._composing
        return twin

    def check_unedited(self, what: str, *, unless_composing: bool = False) -> None:
        """Raises `WorkbenchError` inside a block of `edited`, whose results would pass for the unedited model's.

        Args:
            what: What cannot be done there, as the subject of the sentence.
            unless_composing: Whether a block that says `composing=True` is right for it.
        """
        if self.is_edited and not (unless_composing and self._composing):
            remedy = "Leave the block first"
            raise WorkbenchError(
                f"{what} inside `with model.edited(…)` would pass for one of the unedited model.",
                f"{remedy}, or open it with composing=True to fit an edit that comes after these."
                if unless_composing
                else f"{remedy}.",
            )

    @torch.no_grad()
    def generate(
        self,
        prompts: str | Sequence[str],
        seeds: int | Sequence[int],
        *,
        guidance_scale: float | None = None,
        steps: int | None = None,
        negative_prompt: str = "",
        batch_size: int = 16,
        progress: Progress = SILENT,
    ) -> Images:
        """Images of the prompts. One prompt goes with all seeds, one seed with all prompts; else their numbers match.

        An image depends on its own prompt and seed alone, not on the batch that it is made in, up to one grey level:
        its noise is drawn on the CPU from its own generator. Guidance of 1 or less leaves the unconditional rows out.
        Prompts beyond the token limit are cut with a warning. Raises `WorkbenchError` for no prompts, numbers that do
        not match, a batch size below 1, a negative prompt where the model has no unconditional rows, and an edit of
        guidance where there is none.
        """
        if batch_size < 1:
            raise WorkbenchError(f"A batch of {batch_size} images cannot be made.", "Choose a batch_size of 1 or more.")
        cells = pair(prompts, seeds)
        scale = self.defaults.guidance_scale if guidance_scale is None else guidance_scale
        self.guiding.check(scale)
        uncond = self._uncond(self.guiding.negative_prompt(negative_prompt), scale)
        branches = self._branches() if uncond else []
        batches = [cells[start : start + batch_size] for start in range(0, len(cells), batch_size)]
        steps = self.defaults.steps if steps is None else steps
        return np.concatenate(
            [self._batch(batch, uncond, branches, scale, steps) for batch in progress(batches, "images")]
        )

    def _uncond(self, negative_prompt: str, guidance_scale: float) -> Encoding | None:
        if self.architecture.doubles_rows:
            return self.encode(negative_prompt, role="uncond") if guidance_scale > 1 else None
        if negative_prompt:
            raise WorkbenchError(
                f"{self.name} is guided without unconditional rows, so a negative prompt has no effect on it.",
                "Leave the negative prompt out.",
            )
        return None

    def _branches(self) -> list[Branch]:
        """The guides in place, their texts encoded where no recorder sees it."""
        with self.wiring.calls.aside():
            return [
                Branch(begin, None if prompt is None else self.encode(prompt, role="uncond"))
                for begin, prompt in self.guiding.guides
            ]

    def encode(self, prompts: str | Sequence[str], role: Role = "cond") -> Encoding:
        """The prompts as the denoiser receives them, padded to the tokenizer's full length.

        `role` is what hooks are told of the rows. A prompt beyond the token limit is cut with a warning.
        """
        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        if not rows:
            raise WorkbenchError("There are no prompts to encode.", "Give at least one.")
        self._warn_of_cuts(rows)
        known = tuple(rows) if role == "cond" else None
        with self.wiring.calls.announced("prompt", (role,) * len(rows), known):
            return replace(self.architecture.encode(rows, role), prompts=known)

    def tokens(self, prompts: str | Sequence[str]) -> list[TokenRow]:
        """The tokens of each prompt for the first text encoder, without padding."""
        rows = [prompts] if isinstance(prompts, str) else prompts
        return [token_row(self.pipe.tokenizer, prompt) for prompt in rows]

    def noise_prediction(self, latents: Latents, timestep: int | float | Tensor, encoding: Encoding) -> Latents:
        """The denoiser's raw output, without guidance, for latents as it sees them, at one timestep (0 … 1000).

        What it predicts (noise, v, or a velocity) depends on the model; `to_noise` turns it into noise. An encoding
        of one row stands for all latents.
        """
        rows = encoding.expand(latents.shape[0])
        latents = latents.to(self.device, rows.embeddings.dtype)
        time = torch.as_tensor(timestep, device=self.device)
        with self.wiring.calls.announced("image", rows.roles, rows.prompts):
            return self.architecture.predict(latents, time, rows)

    def to_noise(self, prediction: Latents, latents: Latents, timestep: int | float) -> Latents:
        """The noise that a raw prediction stands for. Methods that work with noise go through this."""
        return to_noise(self.pipe.scheduler, prediction, latents, timestep)

    def predicted_noise(self, latents: Latents, timestep: int | float, encoding: Encoding) -> Latents:
        """The noise that the model sees in the latents, whatever its denoiser is trained to predict."""
        return self.to_noise(self.noise_prediction(latents, timestep, encoding), latents, timestep)

    def latents(self, images: Images) -> Latents:
        """The autoencoder's mean latents of images, scaled as the denoiser knows them."""
        return autoencoder.encode(self.pipe.vae, images)

    def images(self, latents: Latents) -> Images:
        """Images of latents, by the autoencoder."""
        return autoencoder.decode(self.pipe.vae, latents)

    def noise(self, seeds: Sequence[int]) -> Latents:
        """The latents that `generate` starts from, one for each seed: standard normal, float32, on the CPU."""
        size = self.image_size // self.pipe.vae_scale_factor
        return draw(seeds, (self.architecture.latent_channels, size, size))[0]

    def sites(self) -> dict[str, Site]:
        """Every place that can be read and edited, by alias, in the order of the forward pass."""
        return dict(self._sites)

    def site(self, alias: str) -> Site:
        """The site of this alias. Raises `WorkbenchError` with the nearest ones if there is none."""
        if alias not in self._sites:
            raise unknown_name("site", alias, self._sites)
        return self._sites[alias]

    def attention_sites(self) -> dict[str, AttentionSite]:
        """Where the picture attends to the prompt, by alias; for `AttentionRecorder`."""
        return {site.alias: site for site in self.architecture.attention_sites(self.image_size)}

    def prompt_maps(self, reads: Reads = "embeddings") -> dict[str, nn.Parameter]:
        """Weights `[out, d]` that are applied to encoded prompts as they are, by name.

        For SD1, SD2 and SDXL the keys and values of every cross-attention; for SD3 and Flux, whose blocks attend
        jointly, the one map that lifts tokens (or, with "pooled", the pooled embedding) into the transformer.
        """
        return self.architecture.prompt_maps(reads)

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter of a name such as "unet.mid_block.….to_k.weight". Raises `WorkbenchError` if there is none."""
        path, _, last = name.rpartition(".")
        found = getattr(self.module(path), last, None)
        if not isinstance(found, nn.Parameter):
            raise WorkbenchError(f"{self.name} has no parameter {name!r}.", "See model.prompt_maps() for some.")
        return found

    def module(self, path: str) -> nn.Module:
        """The module at a path such as "unet.mid_block". Raises `WorkbenchError` if there is none."""
        found = self.pipe
        for name in path.split("."):
            found = found[int(name)] if name.isdigit() else getattr(found, name, None)
            if not isinstance(found, nn.Module):
                raise WorkbenchError(f"{self.name} has no module {path!r}.", "See `path` of the sites: model.sites().")
        return found

    def session(
        self, record: Sequence[Site | str] = (), edits: Sequence[SiteEdit] = (), keep: Keep | None = None
    ) -> Session:
        """A `Session` on this model. Sites to record may be given by alias."""
        return Session(self, [self.site(site) if isinstance(site, str) else site for site in record], edits, keep)

    def shifted(self, deltas: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """The model with `deltas` added to its parameters, by name, while the block runs."""
        return shifted({name: self.parameter(name) for name in deltas}, deltas)

    @contextmanager
    def edited(self, *edits: Change, composing: bool = False) -> Iterator["Model"]:
        """The model with the edits in place, composed in this order, after those of an outer block.

        After the block the model is as before, also when its body raises: parameters are given back the very memory
        that they had. What is harvested or measured in the block is filed under the model and the edits.

        Args:
            edits: What to put in place.
            composing: Whether methods may be fitted in the block. Such an edit belongs after these.
        """
        with ExitStack() as stack:
            for name in ("_weights", "_in_place", "_composing"):
                stack.callback(setattr, self, name, getattr(self, name))
            self._weights = self.fingerprint if edits else self._weights
            self._composing = self._composing or composing
            for edit in edits:
                stack.enter_context(edit.installed(self))
                self._in_place = [*self._in_place, edit]
            yield self

    def trace(self, prompts: str | Sequence[str], latents: Latents | None = None, timestep: int | float = 1000) -> Any:
        """Opens nnsight on one pass of the model: prompts are encoded and noise is predicted once, with gradients.

            with model.trace("a photo of a fox") as look:
                words = look.with_gradient("text.2").save()
                predicted = look["unet.out"].norm().save()
            torch.autograd.grad(predicted, words)

        `look[alias]` reads and replaces sites. The latents are noise with the row's number as its seed unless given.
        See `nnsight_view` for what nnsight asks of the block. Raises `WorkbenchError` where nnsight is missing, in a
        trace within a trace, for sites out of order, and for a block that is no literal `with`.
        """
        from workbench.models.diffusion.nnsight_view import trace

        rows = [prompts] if isinstance(prompts, str) else list(prompts)
        return trace(self, rows, self.noise(range(len(rows))) if latents is None else latents, min(timestep, 999))

    def _repr_html_(self) -> str:
        rows = {"kind": self.kind, "pipeline": type(self.pipe).__name__, "device": self.device}
        rows["sites"] = len(self._sites)
        rows |= {name.replace("_", " "): value for name, value in self.defaults._asdict().items()}
        cells = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table><caption>{escape(self.name)}</caption>{cells}</table>"

    @cached_property
    def _sites(self) -> dict[str, Site]:
        return {site.alias: site for site in self.architecture.sites(self.image_size)}

    def _batch(
        self,
        cells: Sequence[Cell],
        uncond: Encoding | None,
        branches: Sequence[Branch],
        guidance_scale: float,
        steps: int,
    ) -> Images:
        """One batch through the pipeline, its rows announced in the order in which the pipeline joins them."""
        prompts = [cell.prompt for cell in cells]
        cond = self.encode(prompts)
        uncond = uncond.expand(len(cells)) if uncond else None
        size = self.image_size // self.pipe.vae_scale_factor
        noise, generators = draw([cell.seed for cell in cells], (self.architecture.latent_channels, size, size))
        roles = (*(uncond.roles if uncond else ()), *cond.roles)
        pictures = prompts * (2 if uncond else 1)  # both branches of guidance belong to the same pictures
        surgery = guided(self.wiring, self.architecture.denoiser.path, branches, len(cells), steps)
        calls = self.wiring.calls.announced("image", roles, pictures, lambda: len(self.pipe.scheduler.timesteps))
        with calls, surgery if branches else nullcontext():
            pixels = self.pipe(
                **self.architecture.prompt_arguments(cond, uncond),
                latents=self.architecture.pack(noise.to(self.device, cond.embeddings.dtype)),
                generator=generators, guidance_scale=guidance_scale, num_inference_steps=steps,
                height=self.image_size, width=self.image_size, output_type="np",
            ).images  # fmt: skip
        return autoencoder.to_uint8(pixels)

    def _warn_of_cuts(self, prompts: list[str]) -> None:
        limit = self.pipe.tokenizer.model_max_length
        lengths = [len(ids) for ids in self.pipe.tokenizer(prompts, truncation=False, verbose=False).input_ids]
        cut = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length > limit]
        if cut:
            warnings.warn(
                f"{len(cut)} of {len(prompts)} prompts are longer than {limit} tokens and were cut, first {cut[0]!r}.",
                stacklevel=3,
            )
