"""Time and memory at the shapes of Janus-Pro-1B: random weights, pictures of a few tokens.

    python benchmarks/janus_shapes.py [--cells 4] [--layers 24]

No bound is claimed: what a picture takes, a harvest at one site, and a fit of EAR with one window, in seconds of the
processor in one thread, and the most memory that the process has held so far. Widths, layers and codebook are those of
deepseek-ai/Janus-Pro-1B (language model 24 layers of 2048, vision tower 24 of 1024, 16,384 codes); a picture has
`--cells` tokens in the place of 576, and weights are float32: the language model alone has 1.4 billion, so 10 GB are
needed. Fewer `--layers` take less, and then the figures are of a part of it. Prompts stand before it in the toy's
layout: it is what is computed that counts, not what is said.
"""

import argparse
import resource
from collections.abc import Callable, Sequence
from tempfile import TemporaryDirectory

import torch
from transformers import JanusConfig, JanusForConditionalGeneration
from transformers.initialization import no_init_weights

from saes.progress import SILENT
from workbench.activations.harvest import harvest
from workbench.concepts import Concept
from workbench.erasure.ear import EAR
from workbench.models import Janus, load
from workbench.models.janus.architecture import JanusArchitecture
from workbench.models.janus.parts import Parts
from workbench.models.provenance import Provenance
from workbench.testing.timing import timed

CONCEPT = Concept("fox", anchor="cat", templates=("a photo of a {}",))
PATCH, SPREAD = 16, 0.02


def main(arguments: Sequence[str] | None = None, **changed: dict) -> None:
    """Reads the command line and prints a line for each piece of work.

    Args:
        arguments: In the place of those of the command line.
        **changed: Settings of parts in the place of the published ones, such as `text_config={"hidden_size": 64}`.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cells", type=int, default=4, choices=[side**2 for side in range(1, 25)])
    parser.add_argument("--layers", type=int, default=24)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found: list[Janus] = []
    say("weights", lambda: found.append(random_janus(asked.cells, asked.layers, **changed)))
    (model,) = found
    say(f"a picture of {asked.cells} tokens, guided", lambda: model.sample_codes("a photo of a fox", 0))
    with TemporaryDirectory() as folder:
        middle = f"lm.{asked.layers // 2}"
        say(f"harvest of a picture at {middle}", lambda: harvest(model, ["a photo of a fox"], [middle], folder))
    layers = min(5, asked.layers)
    ear = EAR(visits=1, window=asked.cells, layers=layers, threshold=0.0)
    say(f"EAR, one window, {layers} layers trained", lambda: ear.fit(model, [CONCEPT], progress=SILENT))


def say(what: str, work: Callable[[], object]) -> None:
    """Does the work and prints what it took."""
    seconds = timed(work)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # KiB on Linux
    print(f"{what}: {seconds:.1f} s, {most:.1f} GiB at most so far", flush=True)


def random_janus(cells: int, layers: int, **changed: dict) -> Janus:
    """A Janus of these shapes with normal weights, on the CPU in float32."""
    toy = load("toy-janus", device="cpu")
    side, layout = round(cells**0.5) * PATCH, toy.architecture.layout
    parts = {
        "text_config": {
            "model_type": "llama", "vocab_size": 102400, "hidden_size": 2048, "intermediate_size": 5632,
            "num_hidden_layers": layers, "num_attention_heads": 16, "num_key_value_heads": 16,
            "max_position_embeddings": 16384,
        },
        "vision_config": {
            "hidden_size": 1024, "num_hidden_layers": layers, "num_attention_heads": 16, "image_size": side,
            "patch_size": PATCH, "num_image_tokens": cells, "projection_dim": 2048,
        },
        "vq_config": {
            "embed_dim": 8, "num_embeddings": 16384, "projection_dim": 2048, "image_token_embed_dim": 2048,
        },
    }  # fmt: skip
    config = JanusConfig(**{name: {**part, **changed.get(name, {})} for name, part in parts.items()})
    with no_init_weights():
        whole = JanusForConditionalGeneration(config).eval().requires_grad_(False)
    for parameter in whole.parameters():
        parameter.data.normal_(std=SPREAD)
    taken_apart = Parts(whole, layout.tokenizer, toy.folder)
    architecture = JanusArchitecture(taken_apart, layout)
    return Janus("random weights", architecture, architecture.defaults(), Provenance({}, taken_apart))


if __name__ == "__main__":
    main()
