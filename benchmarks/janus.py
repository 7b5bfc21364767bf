"""What a Janus costs: its cache, its batches, a site that is read, and EAR's windows, each against the plain way.

    python benchmarks/janus.py [MODEL] [--pictures 16] [--rounds 3]

Claims, at 144 tokens a picture: writing 16 pictures with the cache of keys and values is at least 5 times as fast as
reading all tokens again for each; 16 pictures together are at least 4 times as fast as one by one; reading one site
costs at most 5 %, and so does an SAE that takes features out of all positions of 16 pictures; and EAR's windows, each
one pass over tokens that were drawn beforehand, are at least 3 times as fast as token by token.
Greedy tokens of both ways to write are compared, and so are both losses. The two of each pair take turns; seconds are
those of the processor, in one thread, so that other work on the machine does not count. MODEL is the toy's Janus unless
given.
"""

import argparse
import statistics
from collections.abc import Callable, Sequence

import torch
from sae_lens import TopKSAE, TopKSAEConfig
from torch import Tensor
from transformers import DynamicCache

from workbench.edits import ActivationEdit
from workbench.edits.interventions import ablation
from workbench.fitting.picture_streams import PairRows, Streams, pair_rows
from workbench.models import Janus, load
from workbench.models.janus.choosing import Chooser, Sampling
from workbench.models.janus.writing import written
from workbench.testing.timing import turns

UNSAFE, SAFE = "a photo of a fox", "a photo of a cat"
D_SAE, K = 1024, 32
GREEDY = Sampling(guidance_scale=1.0, temperature=0.0, top_k=0)


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads the command line and prints a line for each claim."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="toy-janus")
    parser.add_argument("--pictures", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args(arguments)
    torch.set_num_threads(1)
    model = load(asked.model, device="cpu")
    assert isinstance(model, Janus), f"{asked.model} is no Janus"
    seeds = range(asked.pictures)
    rows = pair_rows(model, UNSAFE, SAFE, "chat")
    tokens = model.sample_codes(UNSAFE, 0)
    say("cache", 5, lambda: cached(model, len(seeds)), lambda: read_again(model, len(seeds)), asked.rounds)
    assert torch.equal(cached(model, 1), read_again(model, 1)), "both ways write other tokens"
    say("together", 4, lambda: model.generate(UNSAFE, seeds, batch_size=len(seeds)),
        lambda: model.generate(UNSAFE, seeds, batch_size=1), asked.rounds)  # fmt: skip
    say("one site read", 1 / 1.05, lambda: reading(model, ["lm.1"]), lambda: reading(model, []), asked.rounds)
    edit = deactivation(model, "lm.1")
    say("SAE deactivation", 1 / 1.05, lambda: edited(model, edit, len(seeds)), lambda: edited(model, None, len(seeds)),
        asked.rounds)  # fmt: skip
    window = model.pipe.cells // 3
    assert torch.allclose(windows(model, rows, tokens, window), stepwise(model, rows, tokens, window), rtol=1e-4)
    say("EAR's windows", 3, lambda: windows(model, rows, tokens, window),
        lambda: stepwise(model, rows, tokens, window), asked.rounds)  # fmt: skip


def say(what: str, bound: float, ours: Callable[[], object], plain: Callable[[], object], rounds: int) -> None:
    """Times both and prints how many times as fast ours is."""
    seconds, ratios = turns(ours, plain, rounds)
    low, high = min(ratios), max(ratios)
    print(f"{what}: {statistics.median(ratios):.2f}× ({low:.2f}–{high:.2f}, bound {bound:.2f}; {seconds:.2f} s)")


@torch.no_grad()
def cached(model: Janus, pictures: int) -> Tensor:
    """Greedy tokens of so many pictures at once, as the model writes them."""
    line = model.architecture.line([UNSAFE], "cond").expand(pictures)
    return written(model.pipe, model.wiring.calls, line, Chooser(GREEDY, range(pictures))).cpu()


@torch.no_grad()
def read_again(model: Janus, pictures: int) -> Tensor:
    """The same with everything read again for each token."""
    line, choose = model.architecture.line([UNSAFE], "cond").expand(pictures), Chooser(GREEDY, range(pictures))
    codes = torch.zeros(pictures, 0, dtype=torch.int64)
    for _ in range(model.pipe.cells):
        hidden = model.read(line.followed_by(model.pipe, codes))
        codes = torch.cat([codes, choose(model.pipe.generation_head(hidden[:, -1]))[:, None].cpu()], dim=1)
    return codes


def reading(model: Janus, sites: list[str]) -> None:
    """A picture while sites are read."""
    with model.session(record=sites):
        model.sample_codes(UNSAFE, 0)


def deactivation(model: Janus, site: str) -> ActivationEdit:
    """An edit that takes half of the features of a random dictionary out of prompts and cells; speed does not depend on
    its values. 1,024 features of which 32 fire: as the toy's own is trained."""
    width = model.site(site).channels
    rows = torch.nn.functional.normalize(torch.randn(D_SAE, width, generator=torch.Generator().manual_seed(0)), dim=1)
    sae = TopKSAE(TopKSAEConfig(d_in=width, d_sae=D_SAE, k=K))
    sae.W_dec.data, sae.W_enc.data = rows, rows.T.contiguous()
    sae.cfg.metadata.hook_name = site
    return ablation(model, sae.requires_grad_(False), range(0, D_SAE, 2))


def edited(model: Janus, edit: ActivationEdit | None, pictures: int) -> None:
    """Pictures under an edit, or without."""
    with model.edited(*([edit] if edit else [])):
        model.sample_codes(UNSAFE, range(pictures))


def windows(model: Janus, rows: PairRows, tokens: Tensor, window: int) -> Tensor:
    """The sum of squared states of a picture, backward, a window at a time."""
    return summed(model, lambda first, last: Streams("cached", 5.0).states(
        model, rows.unsafe.both, tokens, first, last), window)  # fmt: skip


def stepwise(model: Janus, rows: PairRows, tokens: Tensor, window: int) -> Tensor:
    """The same token by token, with a cache that is let go of at the end of a window."""
    drawn, both = model.pipe.drawn_as(tokens).expand(2, -1, -1), rows.unsafe.both.embeddings
    lm, done = model.pipe.language_model, torch.cat([both, drawn], dim=1)

    def states(first: int, last: int) -> Tensor:
        cache, begin = DynamicCache(config=lm.config), 0 if first == 0 else both.shape[1] + first - 1
        if begin:
            with torch.no_grad():
                lm(inputs_embeds=done[:, :begin], cache=cache, use_cache=True)
        ends = [both.shape[1] + step for step in range(first, last)]
        parts = []
        for end in ends:
            parts.append(lm(inputs_embeds=done[:, begin:end], cache=cache, use_cache=True).last_hidden_state)
            begin = end
        return torch.cat(parts, dim=1)

    return summed(model, states, window)


def summed(model: Janus, states: Callable[[int, int], Tensor], window: int) -> Tensor:
    """Adds up the losses of all windows, each of which goes backward to a weight of the first layer."""
    weight, total = model.pipe.language_model.layers[0].self_attn.q_proj.weight, torch.zeros(())
    weight.requires_grad_(True)
    for first in range(0, model.pipe.cells - window + 1, window):
        loss = states(first, first + window).square().sum()
        loss.backward()
        total += loss.detach()
    weight.requires_grad_(False)
    weight.grad = None
    return total


if __name__ == "__main__":
    main()
