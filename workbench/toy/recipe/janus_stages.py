"""The stages of the toy Janus: picture tokenizer, language model, a finer decoder, what ships, SAEs on it.

All of it lies in `janus` of the training's folder. `janus_start` is no step on the way: it puts the shipped weights
where the first stages would have left theirs, so that training goes on from them with nothing else at hand:

    workbench toy train --out out/janus --stage recogniser --stage janus_start --stage janus --stage janus_export
"""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from transformers import JanusForConditionalGeneration, JanusVQVAE, PreTrainedTokenizerFast

from saes.disk import read_tensors, sha256_of, write_tensors
from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.models import load
from workbench.toy import report
from workbench.toy.oracle import Oracle
from workbench.toy.recipe import (
    dataset,
    janus,
    janus_codes,
    janus_export,
    janus_figures,
    janus_saes,
    janus_words,
    recogniser,
)
from workbench.toy.recipe.janus_sampling import Sampler
from workbench.toy.recipe.loop import Schedule, averaged

N_CHUNKS = 60  # thousands of rendered pictures
SCHEDULES = {
    "codes": Schedule(steps=900, lr=2e-3, decay=0.5),
    "more codes": Schedule(steps=3000, lr=1e-3, decay=0.5),  # "more …": from the weights that ship
    "language": Schedule(steps=12_000, lr=1.5e-3),
    "more language": Schedule(steps=12_000, lr=1.5e-3, decay=0.5),
    "decoder": Schedule(steps=800, lr=1e-3, decay=0.5),
}


def device() -> str:
    return "cuda" if torch.cuda.is_available() else "cpu"


def home(folder: Path) -> Path:
    return folder / "janus"


def shipped(folder: Path) -> Path:
    """What `workbench/toy/weights/janus` is a copy of."""
    return folder / "weights" / "janus"


def pictures(folder: Path, progress: Progress) -> tuple[np.ndarray, list[str]]:
    dataset.render_all(home(folder) / "data", N_CHUNKS, progress)
    return dataset.load(home(folder) / "data")


def begin_from_shipped(folder: Path, progress: Progress = SILENT) -> None:
    """Copies the weights that ship to where the stages after it look for a start.

    Raises:
        WorkbenchError: A picture tokenizer or a language model was trained here from nothing already.
    """
    if any((home(folder) / name).exists() for name in ("codes", "language")):
        raise WorkbenchError(f"{folder} holds a training from nothing.", "Start in an empty folder.")
    shutil.copytree(janus_export.SHIPPED, start(folder), dirs_exist_ok=True)


def start(folder: Path) -> Path:
    return home(folder) / "start"


def train_codes(folder: Path, progress: Progress = SILENT) -> None:
    images, _ = pictures(folder, progress)
    fresh = not start(folder).exists()
    vq = janus_codes.new(janus.WIDTH) if fresh else janus_export.read(start(folder)).model.vqmodel
    name = "codes" if fresh else "more codes"
    janus_codes.train(
        vq, images, sees(folder), home(folder) / name, SCHEDULES[name], device(), progress, fresh=fresh
    )  # fmt: skip
    vq.cpu().save_pretrained(home(folder) / "vq")


def sees(folder: Path) -> janus_codes.Sees:
    net = recogniser.trained(folder / "recogniser").to(device())
    return lambda pixels: recogniser.maps(net, pixels)


def tokenizer_of(folder: Path) -> JanusVQVAE:
    """The picture tokenizer: the one trained here, or that of the start."""
    if (home(folder) / "vq").exists():
        return JanusVQVAE.from_pretrained(home(folder) / "vq").eval()
    return janus_export.read(start(folder)).model.vqmodel


def tokens_of(folder: Path, images: np.ndarray, progress: Progress) -> torch.Tensor:
    """The pictures' tokens `[n, 144]`, made once."""
    path = home(folder) / "tokens.safetensors"
    if not path.exists():
        vq = tokenizer_of(folder).to(device())  # type: ignore[arg-type]
        write_tensors(path, {"tokens": janus_codes.encode_all(vq, images, device(), progress)})
    return read_tensors(path)["tokens"]


def train_language_model(folder: Path, progress: Progress = SILENT) -> None:
    """From nothing, or from the weights that `janus_start` left; then on batches that their hash draws."""
    images, captions = pictures(folder, progress)
    model, words, seed = beginning(folder)
    tokens, name = tokens_of(folder, images, progress), language(folder)
    janus.train(model.to(device()), words, captions, tokens, home(folder) / name, SCHEDULES[name], progress, seed=seed)  # type: ignore[arg-type]


def language(folder: Path) -> str:
    """The folder of the language model's checkpoints, and the name of its schedule."""
    return "more language" if start(folder).exists() else "language"


def beginning(folder: Path) -> tuple[JanusForConditionalGeneration, PreTrainedTokenizerFast, int]:
    """The model to train, its words, and the seed of its batches."""
    words = janus_words.build(home(folder) / "words")
    if not start(folder).exists():
        return janus.new_model(words, tokenizer_of(folder)), words, 0
    model = janus_export.read(start(folder))
    model.model.vqmodel.load_state_dict(tokenizer_of(folder).state_dict())
    return model, words, int(sha256_of(start(folder) / janus_export.WEIGHTS)[:7], 16)


def tune_decoder(folder: Path, progress: Progress = SILENT) -> None:
    """The decoder alone, so that tokens keep their meaning."""
    images, _ = pictures(folder, progress)
    vq = janus_codes.tune_decoder(
        tokenizer_of(folder), images, tokens_of(folder, images, progress), sees(folder), home(folder) / "decoder",
        SCHEDULES["decoder"], device(), progress,
    )  # fmt: skip
    vq.cpu().save_pretrained(home(folder) / "decoder" / "vq")


def export(folder: Path, progress: Progress = SILENT) -> None:
    """What ships, with its figures: the last language model, and the tuned decoder if there is one."""
    model, words, _ = beginning(folder)
    janus.restore(model, averaged(home(folder) / language(folder)))
    if (tuned := home(folder) / "decoder" / "vq").exists():
        model.model.vqmodel.load_state_dict(JanusVQVAE.from_pretrained(tuned).state_dict())
    janus_export.write(model, janus_words.processor(words), shipped(folder))
    measure(folder, progress)


def measure(folder: Path, progress: Progress = SILENT) -> None:
    """Figures, card and contact sheet of what ships, by the oracle that is shipped already."""
    words, oracle = janus_words.build(home(folder) / "words"), Oracle.load()
    sampler = Sampler(janus_export.read(shipped(folder)), words)
    rows, images = report.figures(sampler, oracle, progress=progress, floors=report.JANUS_FLOORS)
    report.contact_sheet(images, [one.group for one in report.questions(150)], shipped(folder) / "sheet.png")
    kept = janus_figures.kept(oracle, sampler.model.model.vqmodel, progress)
    janus_export.card(shipped(folder), rows, kept)


def train_saes(folder: Path, progress: Progress = SILENT) -> None:
    """SAEs on what ships, with their figures in its card."""
    stores, out = home(folder) / "stores", shipped(folder).parent / "saes"
    janus_export.card_with_saes(shipped(folder), janus_saes.train(load(shipped(folder)), stores, out, progress))


STAGES: dict[str, Callable[[Path, Progress], None]] = {
    "janus_codes": train_codes,
    "janus": train_language_model,
    "janus_decoder": tune_decoder,
    "janus_export": export,
    "janus_saes": train_saes,
}
BEGINNINGS: dict[str, Callable[[Path, Progress], None]] = {"janus_start": begin_from_shipped}  # only when named
