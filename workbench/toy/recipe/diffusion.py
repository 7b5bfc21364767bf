"""Text encoder and denoiser, trained together from nothing on cached latents.

v-prediction on SD1's scaled-linear betas, rescaled to zero terminal SNR: on 12×12 latents the last step of SD1's own
schedule still shows the mean colour of the picture (its signal, averaged over 144 positions, is nearly as large as
the noise), and sampling that starts from pure noise would then miss it.
"""

from pathlib import Path

import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from saes.progress import SILENT, Progress
from workbench.toy.recipe.autoencoder import CHANNELS
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.tokenizer import LENGTH

BATCH = 32
EMPTY = 0.1  # share of empty captions, for guidance
TEXT_WIDTH = 256


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
    """Both trained parts as one module, so that one optimiser and one checkpoint hold them."""

    def __init__(self, text_encoder: CLIPTextModel, unet: UNet2DConditionModel):
        super().__init__()
        self.text_encoder, self.unet = text_encoder, unet

    def forward(self, noisy: Tensor, timestep: Tensor, token_ids: Tensor) -> Tensor:
        """v-prediction `[n, 4, 12, 12]`."""
        return self.unet(noisy, timestep, self.text_encoder(token_ids)[0]).sample


def tokens(tokenizer: CLIPTokenizer, captions: list[str]) -> Tensor:
    """[n, 24] int32, padded as the pipeline pads."""
    ids = tokenizer(captions, padding="max_length", truncation=True, max_length=LENGTH, return_tensors="pt").input_ids
    return ids.to(torch.int32)


def new_model(tokenizer: CLIPTokenizer, device: str) -> TextToLatent:
    torch.manual_seed(0)
    return TextToLatent(new_text_encoder(tokenizer), new_unet().to(memory_format=torch.channels_last)).to(device)  # type: ignore[call-overload]


def train(
    tokenizer: CLIPTokenizer, captions: list[str], means: Tensor, stds: Tensor, folder: Path, schedule: Schedule,
    device: str, progress: Progress = SILENT,
) -> TextToLatent:  # fmt: skip
    """`means`, `stds`: posterior of the latents of each picture, `[n, 4, 12, 12]`."""
    scheduler = new_scheduler()
    ids, empty = tokens(tokenizer, captions), tokens(tokenizer, [""])

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(len(ids), (BATCH,), generator=generator)
        caption = torch.where(torch.rand(BATCH, 1, generator=generator) < EMPTY, empty, ids[index])
        z = means[index].float() + stds[index].float() * torch.randn(means[index].shape, generator=generator)
        noise = torch.randn(z.shape, generator=generator)
        timestep = stratified(generator)
        noisy, v = scheduler.add_noise(z, noise, timestep), scheduler.get_velocity(z, noise, timestep)
        predicted = module(noisy.to(device, memory_format=torch.channels_last), timestep.to(device), caption.to(device))
        return {"mse": (predicted.float() - v.to(device)).square().mean()}

    return fit(new_model(tokenizer, device), loss, folder, schedule, progress)  # type: ignore[return-value]


def stratified(generator: torch.Generator) -> Tensor:
    """One timestep from each of `BATCH` equal slices of 0…999: the same mean as uniform draws, with less variance."""
    return ((torch.arange(BATCH) + torch.rand(BATCH, generator=generator)) * (1000 / BATCH)).long()
