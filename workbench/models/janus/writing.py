"""A picture written token by token, with a cache of keys and values.

Call 0 reads the prompt and predicts token 0; call k reads token k − 1 of the picture and predicts token k. Guidance
doubles the rows, conditional ones first; the token that is chosen is read by both rows of its picture.
"""

from collections.abc import Callable

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers import DynamicCache

from workbench.hooks import Calls
from workbench.models.janus.lines import Codes, Line, cells
from workbench.models.janus.parts import Parts

Choose = Callable[[Tensor], Int64[Tensor, " pictures"]]


@torch.no_grad()
def written(
    parts: Parts, calls: Calls, line: Line, choose: Choose, given: Int64[Tensor, "_ _"] | None = None, aside: int = 0
) -> Codes:
    """The tokens of a picture for each conditional row.

    Args:
        parts: The model.
        calls: Told of the rows, so that hooks know them.
        line: The prompts; with guidance, conditional rows and then as many unconditional ones.
        choose: Logits of all rows → the next token of each picture.
        given: Tokens that each picture begins with, whatever is chosen there.
        aside: The last so many rows are of no picture.

    Returns:
        On the model's device.
    """
    cache = DynamicCache(config=parts.language_model.config)
    drawn: list[Tensor] = []
    with calls.announced("image", line.roles, line.prompts, lambda: parts.cells, lambda: line.tokens, aside):
        for cell in range(parts.cells):
            out = parts.language_model(**line.arguments, cache=cache, use_cache=True)
            codes = choose(parts.generation_head(out.last_hidden_state[:, -1:])[:, 0])
            if given is not None and cell < given.shape[1]:
                codes = given[:, cell].to(codes)
            drawn.append(codes)
            read = codes.repeat(len(line.roles) // len(codes))[:, None]
            line = line.next(parts.drawn_as(read), cells(read, cell))
    return torch.stack(drawn, dim=1)
