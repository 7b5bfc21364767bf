"""Training and testing the oracle: labelled renders, pictures through the autoencoder, and everything that is none of
these."""

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from probes.statistics import wilson
from saes.disk import sha256_of, write_json, write_tensors
from saes.progress import SILENT, Progress
from workbench.toy.oracle import ATTRIBUTES, GLOBAL, KINDS, LOCAL, Judged, Oracle, OracleNet
from workbench.toy.recipe.autoencoder import pixels
from workbench.toy.recipe.loop import Schedule, fit
from workbench.toy.render import render
from workbench.toy.scenes import Scene, random_scene
from workbench.toy.world import COLOURS, SLIME

BATCH = 64
N_BROKEN = 14  # of each batch
THRESHOLD = 0.5  # on calibrated probabilities


class Labelled(NamedTuple):
    images: Tensor  # [n, 48, 48, 3] uint8
    local: Tensor  # [n, 15] bool: which thing, or a person, is there
    colours: Tensor  # [n, 15] int64: its colour, −1 where it is absent
    overall: Tensor  # [n, factors] bool, `intact` always true


def labels(scene: Scene) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The truth about a scene in the order of the oracle's outputs."""
    colours = np.full(len(LOCAL), -1)
    for item in scene.objects:
        if item.thing:
            colours[LOCAL.index(item.thing)] = list(COLOURS).index(item.colour)
    shown = {scene.artist, scene.character, *scene.marks, "intact", SLIME if scene.slime else ""}
    if (person := scene.person) is not None:
        colours[LOCAL.index("person")] = list(COLOURS).index(scene.shirt)
        facts = (
            person.gender == "woman",
            person.gender == "man",
            person.age == "senior",
            person.glasses,
            bool(person.hat),
            person.beard,
        )
        shown |= {name for name, true in zip(ATTRIBUTES, facts, strict=True) if true}
    return colours >= 0, colours, np.array([name in shown for name in GLOBAL])


def labelled_chunk(seed: int, n: int, unknown: float) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng([11, seed])
    scenes = [random_scene(rng, known=rng.random() >= unknown) for _ in range(n)]
    return np.stack([render(scene).image for scene in scenes]), *(
        np.stack(x) for x in zip(*map(labels, scenes), strict=True)
    )


def labelled(n: int, seed: int, unknown: float = 0.15, progress: Progress = SILENT) -> Labelled:
    """Renders n fresh scenes with their labels; a share of them shows only shapes without a name."""
    size = 500
    seeds = range(seed, seed + -(-n // size))
    with ProcessPoolExecutor() as pool:
        jobs = [pool.submit(labelled_chunk, s, min(size, n), unknown) for s in seeds]
        chunks = [job.result() for job in progress(jobs, "rendering", len(jobs))]
    return Labelled(*(torch.from_numpy(np.concatenate(column)) for column in zip(*chunks, strict=True)))


@torch.no_grad()
def decoded(model: AutoencoderKL, latents: Tensor) -> Tensor:
    """uint8 pictures `[n, 48, 48, 3]` of latents `[n, 4, 12, 12]`."""
    parts = [model.decode(z.to(memory_format=torch.channels_last)).sample for z in latents.split(64)]
    return torch.cat(parts).clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1).contiguous()


@torch.no_grad()
def through(model: AutoencoderKL, images: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """The pictures encoded, disturbed by up to `noise` standard deviations, and decoded."""
    z = torch.cat([model.encode(pixels(part.numpy())).latent_dist.mean for part in images.split(64)])
    return decoded(
        model, z + noise * torch.rand(len(z), 1, 1, 1, generator=generator) * torch.randn(z.shape, generator=generator)
    )


@torch.no_grad()
def decoded_noise(model: AutoencoderKL, images: Tensor, generator: torch.Generator) -> Tensor:
    """What a sampler that went astray would show: latents of noise, or of a picture drowned in noise."""
    z = torch.cat([model.encode(pixels(part.numpy())).latent_dist.mean for part in images.split(64)])
    drowned = 0.75 + 0.25 * torch.rand(len(z), 1, 1, 1, generator=generator)
    scale = 0.5 + torch.rand(len(z), 1, 1, 1, generator=generator)
    return decoded(model, scale * ((1 - drowned**2).sqrt() * z + drowned * torch.randn(z.shape, generator=generator)))


def broken(images: Tensor, noise: Tensor, generator: torch.Generator) -> Tensor:
    """Pictures `[n, 3, 48, 48]` in [−1, 1] that show nothing whole: n/2 decoded noise, the rest blends, shuffled
    patches, pixel noise and washed-out smears of `images`."""
    n = len(images)
    kind = torch.randint(0, 8, (n,), generator=generator)
    weight = 0.35 + 0.3 * torch.rand(n, 1, 1, 1, generator=generator)
    blend = weight * images + (1 - weight) * images.roll(1, 0)
    patch = 8 if torch.rand((), generator=generator) < 0.5 else 12
    tiles = F.unfold(images, patch, stride=patch)
    shuffled = F.fold(
        tiles[..., torch.randperm(tiles.shape[-1], generator=generator)], images.shape[-2:], patch, stride=patch
    )
    static = images * 0.3 + 0.8 * torch.randn(images.shape, generator=generator)
    smear = F.interpolate(F.avg_pool2d(images, 12), size=images.shape[-2:], mode="bilinear")
    options = torch.stack([noise, noise, noise, noise, blend, shuffled, static, smear])
    return options[kind, torch.arange(n)].clamp(-1, 1)


def train(folder: Path, vae: AutoencoderKL, schedule: Schedule, n: int, progress: Progress = SILENT) -> OracleNet:
    """Trains on n renders, a third of them also as the autoencoder returns them, and on broken pictures."""
    data = labelled(n, 0, progress=progress)
    generator = torch.Generator().manual_seed(0)
    recoded = through(vae, data.images[: n // 3], 0.25, generator)
    noise = decoded_noise(vae, data.images[: n // 6], generator)

    def loss(module: nn.Module, step: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = torch.randint(n, (BATCH,), generator=generator)
        images = data.images[index]
        again = (index < n // 3) & (torch.rand(BATCH, generator=generator) < 0.7)
        images[again] = recoded[index[again]]
        x = pixels(images.numpy())
        bad = noise[torch.randint(len(noise), (N_BROKEN,), generator=generator)]
        x[:N_BROKEN] = broken(x[:N_BROKEN], pixels(bad.numpy()), generator)
        x = x * (0.95 + 0.1 * torch.rand(BATCH, 1, 1, 1, generator=generator)) + 0.03 * torch.randn(
            x.shape, generator=generator
        )
        whole = (torch.arange(BATCH) >= N_BROKEN)[:, None]
        return terms(
            module(x), data.local[index] & whole, data.colours[index].where(whole, -1), data.overall[index] & whole
        )

    torch.manual_seed(0)
    return fit(OracleNet(), loss, folder, schedule, progress)  # type: ignore[return-value]


def terms(logits: tuple[Tensor, ...], local: Tensor, colours: Tensor, overall: Tensor) -> dict[str, Tensor]:
    """Cross-entropies: a sigmoid for each factor, and the colour of each thing that is there (summed over factors)."""
    return {
        "local": 8 * F.binary_cross_entropy_with_logits(logits[0].float(), local.float()),
        "overall": 8 * F.binary_cross_entropy_with_logits(logits[2].float(), overall.float()),
        "colours": F.cross_entropy(logits[1].float().flatten(0, 1), colours.flatten(), ignore_index=-1),
    }


@torch.no_grad()
def calibrate(net: OracleNet, data: Labelled) -> Tensor:
    """A temperature for each factor, by least cross-entropy on held-out pictures."""
    parts = [net(pixels(part.numpy())) for part in data.images.split(128)]
    logits = torch.cat([torch.cat([p.local, p.overall], dim=1) for p in parts])
    truth = torch.cat([data.local, data.overall], dim=1).float()
    grid = torch.linspace(0.3, 3.0, 55)
    losses = torch.stack(
        [F.binary_cross_entropy_with_logits(logits / t, truth, reduction="none").mean(0) for t in grid]
    )
    return grid[losses.argmin(0)]


def save(net: OracleNet, temperature: Tensor, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {f"net.{k}": v.half() if v.is_floating_point() else v for k, v in net.state_dict().items()}
    write_tensors(folder / "oracle.safetensors", tensors | {"temperature": temperature})
    write_json(
        folder / "oracle.json", {"threshold": THRESHOLD, "version": sha256_of(folder / "oracle.safetensors")[:12]}
    )


def test(oracle: Oracle, vae: AutoencoderKL, progress: Progress = SILENT, n: int = 3000) -> list[dict]:
    """Accuracy of each kind of factor on fresh renders and on the same through the autoencoder, the calibration
    error, and the share of pictures of nothing that pass as a concept. Intervals are Wilson's, 95 %."""
    generator = torch.Generator().manual_seed(5)
    data = labelled(n, 900, unknown=0.0, progress=progress)
    rows = accuracies(oracle, data, data.images, "fresh renders")
    rows += accuracies(oracle, data, through(vae, data.images, 0.0, generator), "through the autoencoder")
    unknown = labelled(500, 990, unknown=1.0, progress=progress).images
    bad = broken(pixels(data.images.numpy()), pixels(decoded_noise(vae, data.images, generator).numpy()), generator)
    bad_images = bad.add(1).mul(127.5).round().to(torch.uint8).permute(0, 2, 3, 1)
    seen_unknown, seen_bad = oracle.judge(unknown.numpy()), oracle.judge(bad_images.numpy())
    nothing = {
        "unknown shapes that pass as an object": passes(oracle, seen_unknown, ["object"]),
        "broken pictures that pass as a concept": passes(oracle, seen_bad, list(set(KINDS.values()))),
        "broken pictures taken for intact": seen_bad.intact >= 0.5,
        "unknown shapes taken for broken": seen_unknown.intact < 0.5,
    }
    return rows + [row("none of these", what, hits) for what, hits in nothing.items()]


def passes(oracle: Oracle, judged: Judged, kinds: list[str]) -> np.ndarray:
    """[n] bool: some concept of these kinds is said to be there."""
    columns = [i for i, kind in enumerate(KINDS.values()) if kind in kinds]
    return np.any(judged.present[:, columns] >= oracle.threshold, axis=1)


def accuracies(oracle: Oracle, data: Labelled, images: Tensor, where: str) -> list[dict]:
    """For each kind: the share of pictures on which all concepts of the kind are judged rightly."""
    judged = oracle.judge(images.numpy())
    names = [*LOCAL, *GLOBAL]
    truth = torch.cat([data.local, data.overall], dim=1).numpy()[:, [names.index(c) for c in KINDS]]
    right = (judged.present >= oracle.threshold) == truth
    kinds = np.array(list(KINDS.values()))
    rows = [row(where, kind, right[:, kinds == kind].all(1)) for kind in dict.fromkeys(KINDS.values())]
    there = data.local.numpy()
    colours = judged.colour.argmax(-1) == data.colours.numpy()
    attributes = data.overall.numpy()[:, [GLOBAL.index(a) for a in ATTRIBUTES]]
    faces = there[:, LOCAL.index("person")]
    rows.append(row(where, "colour", colours[there]))
    right_attributes = (judged.attributes >= 0.5) == attributes
    rows += [row(where, name, right_attributes[faces, i]) for i, name in enumerate(ATTRIBUTES)]
    error = np.abs(judged.present.mean(0) - truth.mean(0)).max()
    return [
        *rows,
        {
            "pictures": where,
            "factor": "largest calibration error of a concept",
            "value": float(error),
            "low": None,
            "high": None,
            "n": len(truth),
        },
    ]


def row(pictures: str, factor: str, hits: np.ndarray) -> dict:
    low, high = wilson(int(hits.sum()), len(hits))
    return {
        "pictures": pictures,
        "factor": factor,
        "value": float(hits.mean()),
        "low": low,
        "high": high,
        "n": len(hits),
    }
