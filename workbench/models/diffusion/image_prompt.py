"""Pictures as prompts: an image encoder and an IP-Adapter (Ye et al. 2023, arXiv:2308.06721) beside a denoiser.

An image becomes a few tokens r, which every cross-attention reads with keys and values of its own:
    (1)  r = P(v(X))                                     v the pooled embedding of the image, P a small projection
    (2)  A(h; e, r) = softmax(Q(eW_k)ᵀ/√d) eW_v + s · softmax(Q(rW′_k)ᵀ/√d) rW′_v,   Q = hW_q; then the output map
The parts are those of diffusers, and so is the layout on disk: a folder that `load_ip_adapter` of a pipeline reads,
    FOLDER/WEIGHTS.safetensors    image_proj.… and ip_adapter.N.to_k_ip.weight
    FOLDER/image_encoder/         a CLIPVisionModelWithProjection; its preprocessor_config.json, if there is one
How many tokens a text has never tells whether an image is there: without image tokens, (2) is the plain attention,
by the processor that was there before.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models.attention_processor import Attention, IPAdapterAttnProcessor2_0
from diffusers.models.embeddings import ImageProjection
from jaxtyping import Float
from torch import Tensor, nn
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

from saes.disk import read_tensors
from saes.errors import WorkbenchError
from workbench.models.diffusion.architecture import Latents
from workbench.models.diffusion.model import Diffusion
from workbench.models.encoding import Encoding
from workbench.models.images import Images
from workbench.shipped import adapter_path

N_TOKENS = 4
ENCODER = "image_encoder"
PROJECTION = {"image_embeds": "proj", "norm": "norm"}  # diffusers' names of its layers → names on disk
Tokens = Float[Tensor, "images tokens d"]


def cross_attentions(unet: Any) -> list[Attention]:
    """The attentions that read the prompt, in the order in which adapter files number them."""
    names = [name.removesuffix(".processor") for name in unet.attn_processors]
    return [unet.get_submodule(name) for name in names if name.endswith("attn2")]


class Adapter(nn.Module):
    """P, and W′_k and W′_v for each cross-attention of a UNet."""

    def __init__(self, unet: Any, embed_dim: int, n_tokens: int = N_TOKENS) -> None:
        super().__init__()
        d = unet.config.cross_attention_dim
        self.projection = ImageProjection(embed_dim, d, n_tokens)
        self.attention = nn.ModuleList(
            IPAdapterAttnProcessor2_0(attention.to_k.out_features, d, (n_tokens,))
            for attention in cross_attentions(unet)
        )

    def official(self) -> dict[str, Tensor]:
        """Its weights by their names on disk."""
        return {official: self.state_dict()[name] for name, official in self._names().items()}

    def load_official(self, tensors: Mapping[str, Tensor]) -> None:
        """Takes weights by their names on disk. Raises `WorkbenchError` if any is missing or of another shape."""
        try:
            self.load_state_dict({name: tensors[official] for name, official in self._names().items()})
        except (KeyError, RuntimeError) as error:
            raise WorkbenchError(
                f"The image adapter does not fit the model ({error}).",
                "Give an IP-Adapter (the plain one, with four image tokens) that was trained for this architecture.",
            ) from error

    def _names(self) -> dict[str, str]:
        layers = {f"projection.{ours}.{part}": f"image_proj.{theirs}.{part}"
                  for ours, theirs in PROJECTION.items() for part in ("weight", "bias")}  # fmt: skip
        maps = {f"attention.{i}.to_{map}_ip.0.weight": f"ip_adapter.{2 * i + 1}.to_{map}_ip.weight"
                for i in range(len(self.attention)) for map in "kv"}  # fmt: skip
        return layers | maps


@dataclass(frozen=True, eq=False)
class ImagePrompt:
    """What turns images into tokens, and lets a denoiser attend to them. Nothing in it asks for gradients."""

    encoder: CLIPVisionModelWithProjection
    processor: CLIPImageProcessor
    adapter: Adapter

    @classmethod
    def open(cls, path: str | Path, model: Diffusion) -> "ImagePrompt":
        """Opens "toy/image_adapter", a folder, or one .safetensors file of a folder, for a UNet (SD1, SD2, SDXL).

        Raises `WorkbenchError` if something is missing, or does not fit the model.
        """
        if model.kind not in ("sd1", "sd2", "sdxl"):
            raise WorkbenchError(
                f"{model.name} ({model.kind}) has no cross-attention for an image adapter.", "Choose SD1, SD2 or SDXL."
            )
        weights = _weights(adapter_path(path))
        folder = weights.parent / ENCODER
        if not (folder / "config.json").exists():
            raise WorkbenchError(
                f"{weights.parent} has no image encoder.", f"Put the CLIP image encoder of the adapter into {folder}."
            )
        with torch.random.fork_rng(devices=[]):  # layers draw first weights, which nobody keeps
            encoder = CLIPVisionModelWithProjection.from_pretrained(folder)
            adapter = Adapter(model.pipe.unet, encoder.config.projection_dim)
        adapter.load_official(read_tensors(weights))
        for part in (encoder, adapter):
            part.to(model.device, model.pipe.unet.dtype).eval().requires_grad_(False)
        return cls(encoder, _processor(folder, encoder.config.image_size), adapter)

    @torch.no_grad()
    def embeds(self, images: Images) -> Float[Tensor, "images p"]:
        """v(X). The images are resized and normalised as the encoder was trained, whatever their size."""
        pixels = self.processor(images=list(images), return_tensors="pt").pixel_values
        return self.encoder(pixels.to(self.encoder.device, self.encoder.dtype)).image_embeds

    @torch.no_grad()
    def tokens(self, images: Images) -> Tokens:
        """r of (1)."""
        return self.adapter.projection(self.embeds(images))  # (1)

    @contextmanager
    def attached(self, model: Diffusion, scale: float = 1.0) -> Iterator["Attached"]:
        """The adapter beside the model's cross-attentions while the block runs, s = `scale`.

        The model's own calls stay as they are, bit for bit: only `Attached.noise_prediction` shows an image.
        """
        attached, attentions = Attached(model), cross_attentions(model.pipe.unet)
        before = [attention.processor for attention in attentions]
        try:
            for attention, plain, module in zip(attentions, before, self.adapter.attention, strict=True):
                image: Any = copy(module)
                image.scale = [scale]
                attention.set_processor(_Beside(plain, image, attached))
            yield attached
        finally:
            for attention, plain in zip(attentions, before, strict=True):
                attention.set_processor(plain)


class Attached:
    """A model with an adapter beside it."""

    def __init__(self, model: Diffusion) -> None:
        self.model = model
        self.shown: Tensor | None = None

    def noise_prediction(
        self, latents: Latents, timestep: int | float | Tensor, encoding: Encoding, image: Tokens | None
    ) -> Latents:
        """`model.noise_prediction` under text and image tokens, or under text alone (None). One row stands for all."""
        if image is not None:
            image = image.to(latents.device).expand(latents.shape[0], -1, -1)
        with self.showing(image):
            return self.model.noise_prediction(latents, timestep, encoding)

    @contextmanager
    def showing(self, image: Tokens | None) -> Iterator[None]:
        """Attention sees these tokens, a row for each latent, while the block runs."""
        before, self.shown = self.shown, image
        try:
            yield
        finally:
            self.shown = before

    def again(self) -> AbstractContextManager[None]:
        """Around what is computed again for a backward pass: the same image as now."""
        return self.showing(self.shown)


class _Beside:
    """An attention processor: the one that was there, or, while an image is shown, (2)."""

    def __init__(self, plain: Any, image: IPAdapterAttnProcessor2_0, attached: Attached) -> None:
        self.plain, self.image, self.attached = plain, image, attached

    def __call__(
        self,
        attn: Attention,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor | None = None,
        *args: Any,
        **how: Any,
    ) -> Tensor:
        if self.attached.shown is None:
            return self.plain(attn, hidden_states, encoder_hidden_states, *args, **how)
        both = (encoder_hidden_states, [self.attached.shown.to(hidden_states.dtype)])
        return self.image(attn, hidden_states, both, *args, **how)  # (2)


def _weights(path: Path) -> Path:
    """The file of an adapter that is given by it or by its folder."""
    if path.is_file():
        return path
    found = sorted(path.glob("*.safetensors"))
    if len(found) != 1:
        raise WorkbenchError(
            f"{path} holds {len(found)} .safetensors files, so it does not say which adapter is meant.",
            "Give the folder of one IP-Adapter, or the path of its file.",
        )
    return found[0]


def _processor(folder: Path, image_size: int) -> CLIPImageProcessor:
    """The encoder's own statistics; CLIP's where its folder does not say, as diffusers does."""
    if (folder / "preprocessor_config.json").exists():
        return CLIPImageProcessor.from_pretrained(folder)
    return CLIPImageProcessor(size=image_size, crop_size=image_size)
