"""How a prompt stands before a Janus: begin token, chat template, words, begin-of-image token.

    conditional      [BOS] <|User|>: a photo of a fox <|Assistant|>: [BOI]
    unconditional    [BOS] PAD … … … … … … … … … … … … … … … … … … … [BOI]
The padding of the unconditional row is attended, as transformers has it. Shorter prompts of a batch are padded on the
left, where nothing attends; so the picture follows its prompt, whatever else is in the batch.
"""

from collections.abc import Sequence
from functools import cached_property
from itertools import takewhile
from pathlib import Path
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Int64
from jinja2 import TemplateError
from torch import Tensor

from saes.errors import WorkbenchError
from workbench.hooks import Place, Role, Tokens
from workbench.models.word_places import standing, tokenized

Ids = Int64[Tensor, "rows positions"]
PROBES = ("x", "7")  # two prompts that share nothing
REMEDY = 'It is given messages as Janus has them: content is a list of {"type": "text", "text": …}.'


class Special(NamedTuple):
    """Ids of tokens that are no words: begin of the text, padding, and begin of the image."""

    begin: int
    pad: int
    image: int


class Layout:
    """Texts as ids, and what each of the ids stands for.

    Args:
        tokenizer: Of the model, with its chat template; without one, a prompt is its words alone.
        special: Its tokens that are no words.
        longest: Tokens of a prompt, at most.
    """

    def __init__(self, tokenizer: Any, special: Special, longest: int) -> None:
        self.tokenizer = tokenizer
        self.special = special
        self.longest = longest

    def ids(self, texts: Sequence[str]) -> Ids:
        """The texts in their layout, padded on the left to the longest. Raises `WorkbenchError` for one too long."""
        rows = [self.row(text) for text in texts]
        width = max(map(len, rows))
        if width > self.longest:
            raise WorkbenchError(
                f"A prompt of {width} tokens leaves no room for the picture.", f"Give at most {self.longest} tokens."
            )
        return torch.tensor([[self.special.pad] * (width - len(row)) + row for row in rows])

    def row(self, text: str) -> list[int]:
        """One text in its layout, without padding."""
        ids, image = self.read(self.written(text)), self.special.image
        return ids if ids[-1] == image else [*ids, image]

    def written(self, text: str) -> str:
        """One text in its layout, as the tokenizer is given it."""
        framed = self.framed([{"type": "text", "text": text}])
        return (text if framed is None else framed) + self.tokenizer.convert_ids_to_tokens(self.special.image)

    def framed(self, content: list[dict[str, str]]) -> str | None:
        """What a user says, in the chat template; None if there is none."""
        if self.tokenizer.chat_template is None:
            return None
        message = {"role": "user", "content": content}
        return self.tokenizer.apply_chat_template([message], add_generation_prompt=True, tokenize=False)

    def read(self, text: str) -> list[int]:
        """The ids of a text, after one begin token."""
        ids, begin = self.tokenizer(text, add_special_tokens=False, verbose=False).input_ids, self.special.begin
        return ids if ids[:1] == [begin] else [begin, *ids]

    def word_positions(self, text: str, words: str) -> list[int]:
        """Where words of a text stand among its tokens, the begin token being 0; the template has none of them."""
        read, (before, after) = tokenized(self.tokenizer, self.written(text), add_special_tokens=False), self._around
        first = int(read.ids[:1] != (self.special.begin,))  # a begin token is put before
        found = standing(read, self.tokenizer, words, (before, len(read.text) - after))
        return [first + position for place in found for position in place]

    def words(self, ids: Int64[Tensor, " positions"]) -> Int64[Tensor, " words"]:
        """The ids of one row that are the prompt's own."""
        before, after = self._frame
        own = ids[self.attended(ids[None])[0].cpu()]
        return own[before : len(own) - after]

    def around(self, row: Sequence[int], words: Sequence[int]) -> list[int]:
        """The ids of a row without padding, with other words in the place of its own."""
        before, after = self._frame
        return [*row[:before], *words, *row[len(row) - after :]]

    def framed_words(self, prompts: Sequence[Sequence[int]]) -> Ids:
        """The rows of prompts whose own ids are given, padded on the left to the longest."""
        frame = self.row(PROBES[0])
        rows = [self.around(frame, words) for words in prompts]
        width = max(map(len, rows))
        return torch.tensor([[self.special.pad] * (width - len(row)) + row for row in rows])

    @property
    def room(self) -> int:
        """How many tokens of its own a prompt may have."""
        return self.longest - sum(self._frame)

    def attended(self, ids: Ids) -> Bool[Tensor, "rows positions"]:
        """True from the begin token on."""
        return (ids != self.special.pad).cumsum(dim=1) > 0

    def unconditional(self, ids: Ids) -> Ids:
        """The same rows without their prompts: whatever is neither begin of text nor of image becomes padding."""
        begin, pad, image = self.special
        return ids.masked_fill((ids != begin) & (ids != image), pad)

    def tokens(self, ids: Ids, role: Role) -> Tokens:
        """What the positions hold, of ids that are conditional."""
        attended, (before, after) = self.attended(ids), self._frame
        position = attended.cumsum(dim=1) - 1
        places = torch.full_like(ids, Place.WORD, dtype=torch.int8)
        places[(position < before) | (position > position[:, -1:] - after)] = Place.TEMPLATE
        if role == "uncond":
            ids = self.unconditional(ids)
            places[ids == self.special.pad] = Place.PADDING
        places[position == 0] = Place.BEGIN
        places[:, -1] = Place.END
        return Tokens(places.masked_fill(~attended, Place.ABSENT), position, ids)

    def check(self, ids: Ids) -> None:
        """Raises `WorkbenchError` for rows that do not end where the picture begins, such as rows padded behind."""
        if not (ids[:, -1] == self.special.image).all():
            raise WorkbenchError(
                "The ids of a prompt do not end with the begin-of-image token.",
                "Start from model.token_ids(texts), which pads on the left.",
            )

    def check_template(self, folder: Path) -> None:
        """Raises `WorkbenchError` for a chat template that cannot say a prompt. `folder` is where it lies."""
        try:
            said = [self.framed([{"type": "text", "text": text}]) for text in PROBES]
        except (TypeError, TemplateError) as error:
            raise WorkbenchError(f"The chat template in {folder} fails ({error}).", REMEDY) from None
        if not all(framed is None or text in framed for framed, text in zip(said, PROBES, strict=True)):
            raise WorkbenchError(f"The chat template in {folder} leaves the prompt out.", REMEDY)

    @cached_property
    def _around(self) -> tuple[int, int]:
        """How many characters stand before the words, and how many after them."""
        rows = [self.written(text) for text in PROBES]
        return _shared(*rows), _shared(*(row[::-1] for row in rows))

    @cached_property
    def _frame(self) -> tuple[int, int]:
        """How many tokens stand before the words, and how many after them."""
        rows = [self.row(text) for text in PROBES]
        return _shared(*rows), _shared(*(row[::-1] for row in rows))


def _shared(one: Sequence, other: Sequence) -> int:
    """How many numbers, or letters, both begin with."""
    return len(list(takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False))))
