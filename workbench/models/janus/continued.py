"""Pictures of which a Janus is given the first tokens: what `Begun` is for a denoiser.

The given tokens are read as if the model had written them, call by call, and the numbers that would have drawn them are
drawn all the same: a picture that is continued from its own first tokens, with its own seed, is the same picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int64
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.models.prompts import TokenEmbeddings, TokenIds, as_prompts, joined, one_by_one


@dataclass(frozen=True, eq=False)
class Continued:
    """Prompts with the first tokens of each of their pictures; `Janus.generate` takes it in the place of prompts.

    Args:
        prompts: Texts, token ids or token embeddings.
        codes: A row of tokens for each, row by row of the picture from the upper left, fewer than a picture has.

    Raises:
        WorkbenchError: There are not as many beginnings as prompts.
    """

    prompts: list[str] | TokenIds | TokenEmbeddings
    codes: Int64[Tensor, "rows given"]

    def __post_init__(self) -> None:
        if len(self.codes) != len(as_prompts(self.prompts)):
            raise WorkbenchError(
                f"There are {len(self.prompts)} prompts and {len(self.codes)} beginnings of pictures.",
                "Give a row of tokens for every prompt.",
            )

    def __len__(self) -> int:
        return len(self.codes)

    def rows(self) -> list["Continued"]:
        """Each alone."""
        prompts = [[one] if isinstance(one, str) else one for one in one_by_one(as_prompts(self.prompts))]
        return [Continued(prompt, codes) for prompt, codes in zip(prompts, self.codes.split(1), strict=True)]

    def check(self, cells: int, known: int) -> None:
        """Refuses what no picture begins with.

        Args:
            cells: Tokens of a picture.
            known: Codes of the codebook.

        Raises:
            WorkbenchError: Nothing is left to write, or a token is no code.
        """
        if self.codes.shape[1] >= cells:
            raise WorkbenchError(
                f"{self.codes.shape[1]} of the {cells} tokens of a picture are given, so nothing is left to write.",
                f"Give {cells - 1} or fewer.",
            )
        if self.codes.numel() and not 0 <= int(self.codes.min()) <= int(self.codes.max()) < known:
            raise WorkbenchError(f"The codebook has the codes 0 to {known - 1}.", "Choose among these.")


def together(continued: Sequence[Continued]) -> Continued:
    """What `rows` took apart. As many tokens of each picture are given."""
    prompts = joined([one_by_one(as_prompts(one.prompts))[0] for one in continued])
    return Continued(prompts, torch.cat([one.codes for one in continued]))
