"""Where words of a prompt stand among its tokens, by the characters that a tokenizer says its tokens are of.

A placeholder of several vectors (textual inversion) is several tokens: the pipeline writes it out before it tokenizes,
and so does whoever counts tokens.
"""

from typing import Any, NamedTuple

from workbench.words import occurrences


class Reading(NamedTuple):
    """A prompt as a tokenizer reads it, uncut.

    Args:
        text: The prompt with its placeholders written out.
        ids: Its tokens, those that begin and end it included.
        spans: The first character of the text that each token is of, and the one after its last; equal for a token that
            is of none.
    """

    text: str
    ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]


def written_out(pipe: Any, tokenizer: Any, text: str) -> str:
    """A text with each placeholder of several vectors as all of its tokens, as the pipeline encodes it.

    Args:
        pipe: The pipeline, which knows how.
        tokenizer: One of its tokenizers.
        text: A prompt, or words of one.
    """
    convert = getattr(pipe, "maybe_convert_prompt", None)
    if convert is None or not any(name.endswith("_1") for name in tokenizer.get_added_vocab()):
        return text
    return convert(text, tokenizer)


def reading(pipe: Any, tokenizer: Any, prompt: str) -> Reading:
    """A prompt as it is read.

    Args:
        pipe: The pipeline.
        tokenizer: One of its tokenizers.
        prompt: The prompt.
    """
    return tokenized(tokenizer, written_out(pipe, tokenizer, prompt))


def tokenized(tokenizer: Any, text: str, **arguments: Any) -> Reading:
    """A text as a tokenizer reads it, uncut; `arguments` are further ones of the tokenizer."""
    read = tokenizer(text, truncation=False, return_offsets_mapping=True, verbose=False, **arguments)
    return Reading(text, tuple(read.input_ids), tuple(_without_spaces(text, *span) for span in read.offset_mapping))


def places(pipe: Any, tokenizer: Any, prompt: str, words: str) -> list[range]:
    """The tokens that spell words, at each of their places in a prompt.

    Args:
        pipe: The pipeline.
        tokenizer: One of its tokenizers.
        prompt: The prompt.
        words: One word, or several, found as `workbench.words` finds them; a placeholder is found as a whole alone.

    Returns:
        Positions among the tokens of the uncut prompt, in order; [] if the words are not in it.
    """
    return standing(reading(pipe, tokenizer, prompt), tokenizer, written_out(pipe, tokenizer, words))


def standing(read: Reading, tokenizer: Any, words: str, within: tuple[int, int | None] = (0, None)) -> list[range]:
    """The tokens that spell words, at each of their places in what was read.

    Args:
        read: What was read.
        tokenizer: What read it.
        words: One word, or several, found as `workbench.words` finds them; a placeholder is found as a whole alone.
        within: The first character of the part of the text that counts, and the one after its last (None: all).

    Returns:
        Positions among the tokens, in order; [] if the words are not there.
    """
    added = set(tokenizer.get_added_vocab().values())
    found = []
    for start, end in ((within[0] + one for one in span) for span in occurrences(read.text[slice(*within)], words)):
        own = [place for place, (first, last) in enumerate(read.spans) if first < end and last > start]
        if own and not any(read.ids[one] in added and not _within(read.spans[one], start, end) for one in own):
            found.append(range(own[0], own[-1] + 1))
    return found


def _within(span: tuple[int, int], start: int, end: int) -> bool:
    return start <= span[0] and span[1] <= end


def _without_spaces(text: str, first: int, last: int) -> tuple[int, int]:
    """A span without the space that some tokenizers count to the word behind it."""
    own = text[first:last]
    return (first + len(own) - len(own.lstrip()), last) if own.strip() else (last, last)
