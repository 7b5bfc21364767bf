"""What the picture tokenizer of the toy Janus keeps of a picture, by the oracle."""

import torch
from transformers import JanusVQVAE

from saes.progress import SILENT, Progress
from workbench.toy.oracle import Oracle
from workbench.toy.recipe.janus_codes import decode, encode_all
from workbench.toy.recipe.judging import accuracies, labelled

N = 1000
SEED = 900  # of the renders: those that the oracle is tested on


def kept(oracle: Oracle, vq: JanusVQVAE, progress: Progress = SILENT) -> list[dict]:
    """Accuracy of each kind of factor on fresh renders, and on the same as the tokenizer returns them.

    Args:
        oracle: The judge.
        vq: The tokenizer, on the CPU.
        progress: Shows the renders.

    Returns:
        Rows of `judging.accuracies`.
    """
    data = labelled(N, SEED, unknown=0.0, progress=progress)
    again = torch.from_numpy(decode(vq, encode_all(vq, data.images.numpy(), "cpu")))
    return [
        *accuracies(oracle, data, data.images, "fresh renders"), *accuracies(oracle, data, again, "through the tokens")
    ]  # fmt: skip
