"""Text encoder and denoiser, trained together from nothing on cached latents.

v-prediction on SD1's scaled-linear betas, rescaled to zero terminal SNR: on 12×12 latents the last step of SD1's own
schedule still shows the mean colour of the picture (its signal, averaged over 144 positions, is nearly as large as
the noise), and sampling that starts from pure noise would then miss it.

Beside the noise, the middle of the denoiser guesses what a classifier sees in the clean picture (REPA, Yu et al. 2025,
arXiv:2410.06940): without it, after 2,800 steps colours, styles and faces were there, and objects still were blobs.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from saes.progress import SILENT, Progress
from workbench.toy.recipe.autoencoder import CHANNELS
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.recipe.loose import EMPTY, loosened, restyled
from workbench.toy.tokenizer import LENGTH
from workbench.toy.world import ARTISTS, THINGS

BATCH = 32
TEXT_WIDTH = 256
ALIGN = 0.5  # weight of the alignment with a classifier's features
MORE_OBJECTS = 0.4  # share of each batch that is drawn from pictures of objects only…
PLAIN_FIRST = 2700  # … in no style up to this step, and in an artist's style after it
THING_WORDS = {word for thing in THINGS.values() for word in (thing.name, *thing.synonyms)}
ARTIST_WORDS = {word for artist in ARTISTS.values() for word in artist.name.split()}

Sees = Callable[[np.ndarray], Tensor]  # pictures [n, 48, 48, 3] uint8 → features [n, 128, 6, 6]


def new_scheduler() -> DDIMScheduler:
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        prediction_type="v_prediction",
        rescale_betas_zero_snr=True,
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=1,
    )


def new_text_encoder(tokenizer: CLIPTokenizer) -> CLIPTextModel:
    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=TEXT_WIDTH,
        intermediate_size=2 * TEXT_WIDTH,
        num_hidden_layers=4,
        num_attention_heads=4,
        max_position_embeddings=LENGTH,
        projection_dim=TEXT_WIDTH,
        hidden_act="quick_gelu",
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return CLIPTextModel(config)


def new_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(
        sample_size=12,
        in_channels=CHANNELS,
        out_channels=CHANNELS,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        mid_block_type="UNetMidBlock2DCrossAttn",
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        block_out_channels=(64, 128),
        layers_per_block=1,
        attention_head_dim=4,  # number of heads: diffusers' name is historical
        cross_attention_dim=TEXT_WIDTH,
        norm_num_groups=16,
    )


class TextToLatent(nn.Module):
    """All trained parts as one module, so that one optimiser and one checkpoint hold them. `head` is left behind."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel):
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet
        d = unet.config.block_out_channels[-1]
        self.head = nn.Sequential(nn.Conv2d(d, 2 * d, 1), nn.SiLU(), nn.Conv2d(2 * d, d, 1))
        self._middle: Tensor | None = None
        unet.mid_block.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, given: tuple, handed_on: Tensor) -> None:
        self._middle = handed_on

    def forward(self, noisy: Tensor, timestep: Tensor, token_ids: Tensor) -> tuple[Tensor, Tensor]:
        """v-prediction `[n, 4, 12, 12]`, and the guess at what a classifier sees in the picture, `[n, 128, 6, 6]`."""
        predicted = self.unet(noisy, timestep, self.text_encoder(token_ids)[0]).sample
        return predicted, self.head(self._middle)


def tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """[n, 24] int32, padded as the pipeline pads."""
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids
    return ids.to(torch.int32)


def new_model(tokenizer: CLIPTokenizer, device: str, seed: int = 0) -> TextToLatent:
    torch.manual_seed(seed)
    return TextToLatent(new_text_encoder(tokenizer), new_unet().to(memory_format=torch.channels_last)).to(device)  # type: ignore[call-overload]


def train(
    tokenizer: CLIPTokenizer, captions: list[str], images: np.ndarray, means: Tensor, stds: Tensor, seen: Sees,
    folder: Path, schedule: Schedule, device: str, progress: Progress = SILENT, *, seed: int = 0,
    start: Mapping[str, Tensor] | None = None, loose: bool = False,
) -> TextToLatent:  # fmt: skip
    """`means`, `stds`: posterior of the latents of each picture, `[n, 4, 12, 12]`. `seen`: what a classifier sees.
    `start` are the weights to go on from; without them, those that `seed` draws. `loose`: captions are loosened."""
    scheduler = new_scheduler()
    ids, empty = tokens(tokenizer, captions), tokens(tokenizer, [""])
    other_artist = tokens(tokenizer, restyled(captions))
    plain, styled = map(torch.tensor, objects_in(captions))

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(ids), (BATCH,), generator=generator)
        more = torch.rand(BATCH, generator=generator) < MORE_OBJECTS
        objects = plain if step < PLAIN_FIRST and start is None else styled
        index = torch.where(more, objects[torch.randint(len(objects), (BATCH,), generator=generator)], index)
        caption = (
            loosened(index, ids, other_artist, empty, generator)
            if loose
            else torch.where(torch.rand(BATCH, 1, generator=generator) < EMPTY, empty, ids[index])
        )
        z = means[index].float() + stds[index].float() * torch.randn(means[index].shape, generator=generator)
        noise = torch.randn(z.shape, generator=generator)
        timestep = stratified(generator)
        noisy, v = scheduler.add_noise(z, noise, timestep), scheduler.get_velocity(z, noise, timestep)
        predicted, guess = module(
            noisy.to(device, memory_format=torch.channels_last), timestep.to(device), caption.to(device)
        )
        alike = nn.functional.cosine_similarity(guess.float(), seen(images[index.numpy()]).to(device), dim=1)
        return {"mse": (predicted.float() - v.to(device)).square().mean(), "align": ALIGN * (1 - alike).mean()}

    module = new_model(tokenizer, device, seed)
    if start is not None:
        module.load_state_dict(dict(start))
    return fit(module, loss, folder, schedule, progress, seed)  # type: ignore[return-value]


def objects_in(captions: list[str]) -> tuple[list[int], list[int]]:
    """Which captions are of plain objects, whose shapes are learnt after colours and faces, and which are of objects
    in an artist's style, learnt last of all."""
    plain: list[int] = []
    styled: list[int] = []
    for i, caption in enumerate(captions):
        said = set(caption.split())
        if said & THING_WORDS:
            (styled if said & ARTIST_WORDS else plain).append(i)
    return plain, styled


def stratified(generator: torch.Generator, n: int = BATCH) -> Tensor:
    """One timestep from each of n equal slices of 0…999: the same mean as uniform draws, with less variance."""
    return ((torch.arange(n) + torch.rand(n, generator=generator)) * (1000 / n)).long()
