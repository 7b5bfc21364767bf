"""Questions about pictures: the understanding side of a Janus, with its greedy answers.

A picture is read by the vision tower, whose features stand where the template has the picture, between the begin and
the end of the image. The answer is written by the same language model, so that an edit of it counts here too.
"""

from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor
from transformers import DynamicCache

from saes.disk import read_json
from saes.errors import WorkbenchError
from workbench.hooks import Calls, Place, Role, Tokens
from workbench.models.images import Images
from workbench.models.janus.layout import Layout
from workbench.models.janus.lines import Line
from workbench.models.janus.parts import Parts
from workbench.models.janus.pictures import check_size

END = "<end_of_image>"  # as published
HALF = (0.5, 0.5, 0.5)


def question_ids(parts: Parts, layout: Layout, question: str) -> Int64[Tensor, "1 positions"]:
    """A question about one picture, with a placeholder for each of its features.

    Raises:
        WorkbenchError: The tokenizer has no tokens for a picture in a question.
    """
    tokenizer, image = layout.tokenizer, parts.whole.config.image_token_id
    end = getattr(tokenizer, "eoi_token", None) or END
    if image >= len(tokenizer) or end not in tokenizer.get_vocab():
        raise WorkbenchError(
            "The tokenizer has no token for a picture in a question, or none for its end.",
            f"Answers need the id {image} of config.json (image_token_id), and {end}.",
        )
    placeholder, begin = tokenizer.convert_ids_to_tokens([image, layout.special.image])
    framed = layout.framed([{"type": "image"}, {"type": "text", "text": question}])
    if framed is None or placeholder not in framed:
        framed = f"{placeholder}\n{question}"
    features = placeholder * parts.whole.config.vision_config.num_image_tokens
    return torch.tensor([layout.read(framed.replace(placeholder, f"{begin}{features}{end}"))])


@torch.no_grad()
def answered(
    parts: Parts, calls: Calls, ids: Int64[Tensor, "1 positions"], images: Images, longest: int
) -> Int64[Tensor, "images tokens"]:
    """The answer to one question about each image: ids, those behind the first end token of no account.

    Args:
        parts: The model.
        calls: Told of the rows, so that hooks know them.
        ids: Of `question_ids`.
        images: Of the model's own size.
        longest: Tokens, at most.
    """
    line = _asked(parts, ids.to(parts.language_model.device), images)
    cache, written = DynamicCache(config=parts.language_model.config), list[Tensor]()
    done = torch.zeros(len(images), dtype=torch.bool, device=line.attended.device)
    with calls.announced("image", line.roles, holds=lambda: line.tokens):
        while len(written) < longest and not done.all():
            out = parts.language_model(**line.arguments, cache=cache, use_cache=True)
            best = parts.lm_head(out.last_hidden_state[:, -1]).argmax(dim=-1)
            written.append(best)
            done |= best == parts.tokenizer.eos_token_id
            position = torch.full_like(best, ids.shape[1] + len(written) - 1)
            told = Tokens(
                torch.full_like(best, Place.WORD, dtype=torch.int8)[:, None], position[:, None], best[:, None]
            )
            line = line.next(parts.looked_up(best[:, None]), told)
    return torch.stack(written, dim=1)


def said(parts: Parts, ids: list[int]) -> str:
    """An answer as text, up to its end token."""
    end = ids.index(parts.tokenizer.eos_token_id) if parts.tokenizer.eos_token_id in ids else len(ids)
    return parts.tokenizer.decode(ids[:end], skip_special_tokens=True).strip()


def _asked(parts: Parts, ids: Int64[Tensor, "1 positions"], images: Images) -> Line:
    """The rows of a question about each image."""
    rows = ids.expand(len(images), -1)
    is_picture = rows == parts.whole.config.image_token_id
    features = parts.whole.model.get_image_features(_pixels(parts, images)).pooler_output
    embeddings = parts.looked_up(rows).masked_scatter(is_picture[..., None], features.to(parts.language_model.dtype))
    places = torch.where(is_picture, Place.PICTURE, Place.WORD).to(torch.int8)
    position = torch.arange(rows.shape[1], device=rows.device).expand_as(rows)
    position = torch.where(is_picture, is_picture.cumsum(dim=1) - 1, position)
    cond: Role = "cond"
    return Line(embeddings, torch.ones_like(is_picture), Tokens(places, position, rows), (cond,) * len(images))


def _pixels(parts: Parts, images: Images) -> Tensor:
    """Images as the vision tower wants them: scaled and shifted as the folder's processor says."""
    check_size(parts, images)
    known = _processor(parts)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
    mean, std = (torch.tensor(known.get(name, HALF))[:, None, None] for name in ("image_mean", "image_std"))
    return ((pixels - mean) / std).to(parts.vqmodel.device, parts.vqmodel.dtype)


def _processor(parts: Parts) -> dict[str, Any]:
    """What is known of the image processor: in a file of its own, or in that of the whole processor."""
    own, whole = (parts.folder / name for name in ("preprocessor_config.json", "processor_config.json"))
    if own.is_file():
        return read_json(own)
    return read_json(whole).get("image_processor", {}) if whole.is_file() else {}
