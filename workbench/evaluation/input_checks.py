"""Whether a model can draw the rows of a suite: what they hold that is no text may have been made for another one.

Ids are words to the tokenizers that they are of and to no other, embeddings and encodings have the width of a text
encoder, starts the size of a picture, further edits the shapes of the weights.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from saes.errors import WorkbenchError
from workbench.evaluation.inputs import Further, NotText
from workbench.evaluation.suites import Suite
from workbench.identity import hashed
from workbench.models import Begun, Continued, Encoding, Janus, Model, TokenEmbeddings, TokenIds
from workbench.models.provenance import tokenizer_hash
from workbench.settings import settled

Shapes = tuple[tuple[int, ...], ...]


class _Sort(NamedTuple):
    """What a sort of input is called, and where else it fits."""

    name: str
    fits: str


_SORTS: dict[type, _Sort] = {
    TokenIds: _Sort("token ids", "models of the same tokenizers"),
    TokenEmbeddings: _Sort("token embeddings", "models whose text encoders look up as many channels"),
    Encoding: _Sort("encoded prompts", "models that encode prompts to this shape"),
    Begun: _Sort("starts of pictures", "models whose pictures begin at this size"),
    Continued: _Sort("beginnings of pictures in tokens", "models that write pictures in the same tokens"),
}


def check_inputs(model: Model, suite: Suite) -> None:
    """Refuses a suite that the model cannot draw as it was meant, before any picture.

    Args:
        model: The model, without an edit.
        suite: Any suite; one of text alone passes, unless its rows say settings that the model does not have.

    Raises:
        WorkbenchError: Says which of its inputs or settings does not fit.
    """
    _check_sampling(model, suite)
    own: dict[type, Shapes] = {}
    for given in (part for one in suite.inputs.values() for part in _parts(one)):
        if isinstance(given, Further):
            given.edit.check(model)
        else:
            if isinstance(model, Janus) or type(given) not in own:
                own[type(given)] = _of_model(model, given)
            _check_shapes(model, suite, given, own[type(given)])
    if {TokenIds, TokenEmbeddings} & own.keys() and suite.tokenizers and suite.tokenizers != tokenizers_of(model):
        raise WorkbenchError(
            f"The suite {suite.name!r} holds token ids, which are other words to the tokenizer of {model.name}.",
            "Make it again as text (`adversarial_suite(run, as_text=True)`, `workbench suite --as-text`), where "
            "it has some.",
        )


def _check_sampling(model: Model, suite: Suite) -> None:
    """Refuses settings of single rows that the model does not have, and another size than it draws."""
    for guidance_scale, steps in dict.fromkeys((row.guidance_scale, row.steps) for row in suite.rows):
        settled(model.settings, {"guidance_scale": guidance_scale, "steps": steps})
    for size in dict.fromkeys(row.size for row in suite.rows if row.size):
        if size != (model.image_size, model.image_size):
            raise WorkbenchError(
                f"The suite {suite.name!r} asks for pictures of {size[0]} × {size[1]}, and {model.name} draws "
                f"{model.image_size} × {model.image_size}.",
                "Take the columns of width and height out of the list, or take a model of this size.",
            )


def tokenizers_of(model: Model) -> str:
    """Which tokenizers a model reads prompts with, as a hash.

    Args:
        model: Any model.
    """
    return hashed([tokenizer_hash(getattr(model.pipe, name)) for name in model.architecture.tokenizers])


def _parts(given: NotText) -> list[NotText]:
    """An input, and the prompt of a start that is no text either."""
    if isinstance(given, Begun | Continued) and not isinstance(given.prompts, list):
        return [given, given.prompts]
    return [given]


def _check_shapes(model: Model, suite: Suite, given: NotText, wanted: Shapes) -> None:
    found = _shapes(given)
    if wanted != found:
        sort = _SORTS[type(given)]
        raise WorkbenchError(
            f"The suite {suite.name!r} holds {sort.name} of shape {_said(found)}, and {model.name} takes "
            f"{_said(wanted)}.",
            f"They replay on {sort.fits} alone; take prompts that are text.",
        )


@torch.no_grad()
def _of_model(model: Any, like: NotText) -> Shapes:
    """What the model has of the same sort."""
    if isinstance(model, Janus):
        return _of_janus(model, like)
    if isinstance(like, TokenIds):
        return _shapes(model.token_ids(""))
    if isinstance(like, TokenEmbeddings):
        return _shapes(model.token_embeddings(""))
    if isinstance(like, Encoding):
        return _shapes(model.encode(""))
    if isinstance(like, Continued):
        return ()
    noise = getattr(model, "noise", None)
    return () if noise is None else (tuple(noise([0]).shape[1:]),)


def _of_janus(model: Janus, like: NotText) -> Shapes:
    """The same for prompts and beginnings that may be of any length up to one."""
    most = model.pipe.cells - 1 if isinstance(like, Continued) else model.architecture.layout.longest
    wide = (model.pipe.language_model.config.hidden_size,) if isinstance(like, TokenEmbeddings) else ()
    if not isinstance(like, TokenIds | TokenEmbeddings | Continued):
        return ()
    return tuple((min(length, most), *wide) for length, *_ in _shapes(like))


def _shapes(given: Any) -> Shapes:
    """Of one row."""
    parts: Sequence[torch.Tensor | None]
    if isinstance(given, Encoding):
        parts = (given.embeddings, given.pooled)
    elif isinstance(given, Begun):
        parts = (given.noise,)
    elif isinstance(given, Continued):
        parts = (given.codes,)
    else:
        parts = given.embeddings if isinstance(given, TokenEmbeddings) else given.ids
    return tuple(tuple(one.shape[1:]) for one in parts if one is not None)


def _said(shapes: Shapes) -> str:
    return " and ".join("×".join(map(str, one)) for one in shapes) or "none"
