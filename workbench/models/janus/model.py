"""The handle on a Janus: pictures as tokens, teacher forcing, and answers about pictures."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from saes.errors import WorkbenchError, check_at_least
from saes.progress import SILENT, Progress
from workbench.hooks import Role
from workbench.models.architecture import Defaults
from workbench.models.encoding import Encoding, TokenRow, spelt
from workbench.models.images import Images
from workbench.models.janus.answering import answered, question_ids, said
from workbench.models.janus.architecture import JanusArchitecture
from workbench.models.janus.choosing import Chooser, Sampling
from workbench.models.janus.continued import Continued, together
from workbench.models.janus.guiding import Guiding
from workbench.models.janus.lines import Line
from workbench.models.janus.parts import Parts
from workbench.models.janus.pictures import check_size, decoded, encoded
from workbench.models.janus.writing import written
from workbench.models.model import Model
from workbench.models.one_pass import trace
from workbench.models.prompts import Given, Prompts, TokenIds, as_prompts, joined, one_by_one
from workbench.models.provenance import Provenance, components, state_of
from workbench.models.requests import Request, pair

Codes = Int64[Tensor, "rows tokens"]


class Janus(Model):
    """A loaded Janus or Janus-Pro: kind "janus". `pipe` holds its networks by name; `pipe.whole` is transformers' own.

    A picture is `pipe.cells` tokens of a codebook, row by row from the upper left, which the language model writes one
    after another. Its sites see prompt and picture: call 0 of a picture reads the prompt and predicts token 0, call k
    reads token k − 1 and predicts token k; `Clock.tokens` says what each position holds.
    """

    architecture: JanusArchitecture
    pipe: Parts

    def __init__(self, name: str, architecture: JanusArchitecture, defaults: Defaults, provenance: Provenance) -> None:
        super().__init__(name, architecture, defaults, provenance)
        self.guiding = Guiding()  # what edits in place do to guidance

    @property
    def n_codes(self) -> int:
        """How many tokens there are for a picture to be made of."""
        return self.pipe.vqmodel.config.num_embeddings

    @property
    def own_file(self) -> dict[str, Any]:
        """Guidance, size, and the id that transformers forgets."""
        return {
            "guidance_scale": self.defaults.guidance_scale,
            "image_size": self.image_size,
            "boi_token_id": self.architecture.layout.special.image,
        }

    @property
    def settings(self) -> dict[str, bool | int | float | str]:
        """Guidance, temperature and top-k, with their defaults."""
        return {"guidance_scale": float(self.defaults.guidance_scale), "temperature": 1.0, "top_k": 0}

    def generate(  # type: ignore[override]  # its settings are named
        self,
        prompts: Given | Continued | Encoding,  # an encoding is refused in a sentence
        seeds: Any,
        *,
        guidance_scale: float | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        batch_size: int = 16,
        progress: Progress = SILENT,
    ) -> Images:
        """Images of the prompts. One prompt goes with all seeds, one seed with all prompts; else their numbers match.

        An image depends on its own prompt and seed alone, not on the batch that it is made in, but for the last bits of
        the logits: what is random is drawn on the CPU from its own generator.

        Args:
            prompts: Texts, token ids or token embeddings; or `Continued`, these with first tokens of their pictures.
            seeds: Whole numbers 0 … 2⁶³ − 1, one or a sequence, of Python's, NumPy's or torch's.
            guidance_scale: 1 leaves the unconditional rows out, 0 is without the prompt, below it is away from it.
                With a negative prompt in place it has to be above 1.
            temperature: Of the draws; 0 always takes the best token, and then seeds do not matter.
            top_k: Draws among so many of the best tokens; 0: among all, as published.
            batch_size: Images at once.
            progress: Shows the batches.

        Returns:
            uint8 `[images, height, width, 3]`.

        Raises:
            WorkbenchError: For no prompts, numbers that do not match or lie outside these ranges, a prompt that leaves
                no room for the picture, first tokens that leave nothing to write, and pictures that come out as NaN.
        """
        return self.pictures(
            self.sample_codes(
                prompts, seeds, guidance_scale=guidance_scale, temperature=temperature, top_k=top_k,
                batch_size=batch_size, progress=progress,
            )
        )  # fmt: skip

    def sample_codes(
        self,
        prompts: Given | Continued | Encoding,  # an encoding is refused in a sentence
        seeds: Any,
        *,
        guidance_scale: float | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        batch_size: int = 16,
        progress: Progress = SILENT,
    ) -> Codes:
        """The tokens of the images that `generate` makes of the same arguments, `[images, tokens]`, on the CPU."""
        if batch_size < 1:
            raise WorkbenchError(f"A batch of {batch_size} images cannot be made.", "Choose a batch_size of 1 or more.")
        if isinstance(prompts, Continued):
            prompts.check(self.pipe.cells, self.pipe.vqmodel.config.num_embeddings)
        rows = prompts.rows() if isinstance(prompts, Continued) else one_by_one(as_prompts(prompts))
        requests = pair(rows, seeds)
        scale = self.defaults.guidance_scale if guidance_scale is None else guidance_scale
        sampling = Sampling(scale, temperature, top_k)
        sampling.check(self.defaults.guidance_scale)
        self.guiding.check(scale)
        batches = [requests[start : start + batch_size] for start in range(0, len(requests), batch_size)]
        return torch.cat([self._batch(batch, sampling).cpu() for batch in progress(batches, "images")])

    def pictures(self, codes: Codes) -> Images:
        """The images of tokens, by the model's own decoder.

        Args:
            codes: All tokens of each picture, `[images, tokens]`.

        Returns:
            uint8 `[images, height, width, 3]`.

        Raises:
            WorkbenchError: For another number of tokens, codes beyond the codebook, and pictures that come out as NaN.
        """
        return decoded(self.pipe, codes)

    def codes(self, images: Images) -> Codes:
        """The tokens of images, by the model's own encoder, `[images, tokens]`, on the CPU.

        Raises:
            WorkbenchError: For images of another size than the model's.
        """
        return encoded(self.pipe, images).cpu()

    def answer(self, images: Images, question: str, *, longest: int = 64, batch_size: int = 16) -> list[str]:
        """What the model says about each image, taking the best token every time.

        Args:
            images: Of the model's own size.
            question: Asked about each of them.
            longest: Tokens of an answer, at most.
            batch_size: Images at once.

        Returns:
            A text for each image.

        Raises:
            WorkbenchError: For no images or images of another size, and a model without the tokens for it.
        """
        check_at_least(1, longest=longest, batch_size=batch_size)
        check_size(self.pipe, images)
        ids, calls = question_ids(self.pipe, self.architecture.layout, question), self.wiring.calls
        starts = range(0, len(images), batch_size)
        batches = [answered(self.pipe, calls, ids, images[at : at + batch_size], longest) for at in starts]
        return [said(self.pipe, row) for batch in batches for row in batch.tolist()]

    def hidden(self, codes: Codes, prompts: Given, role: Role = "cond") -> Float[Tensor, "rows positions d"]:
        """What the image head is given at every position while these pictures are written, in one pass.

        Args:
            codes: The first tokens of each picture, `[rows, n]`, n ≥ 1.
            prompts: One for each row, or one for all.
            role: "uncond" reads the prompts as guidance's other branch does.

        Returns:
            Final-norm hidden states `[rows, positions, d]`, with gradients: those of the prompt, padded on the left,
            and of the first n − 1 tokens. The last n of them predict the n tokens.

        Raises:
            WorkbenchError: For numbers that do not match, and what `encode` refuses.
        """
        return self.read(self._line(codes, prompts, role))

    def read(self, line: Line, cache: Any = None) -> Float[Tensor, "rows positions d"]:
        """What the language model makes of rows: its final-norm hidden states, with gradients.

        Args:
            line: The rows; behind what the cache holds, if there is one.
            cache: transformers' `DynamicCache`, which remembers these rows too.

        Returns:
            `[rows, positions, d]`.
        """
        with self._announced(line):
            out = self.pipe.language_model(**line.arguments, cache=cache, use_cache=cache is not None)
            return out.last_hidden_state

    def logits(self, codes: Codes, prompts: Given, role: Role = "cond") -> Float[Tensor, "rows tokens codebook"]:
        """What predicts each of the tokens, given those before it: arguments and errors as of `hidden`.

        Returns:
            `[rows, n, codebook]`, with gradients, without guidance.
        """
        line = self._line(codes, prompts, role)
        with self._announced(line):
            hidden = self.pipe.language_model(**line.arguments, use_cache=False).last_hidden_state
            return self.pipe.generation_head(hidden[:, -codes.shape[1] :])

    def trace(self, prompts: str | Sequence[str], codes: Codes) -> Any:
        """Opens nnsight on one pass of the model, `logits`, with gradients.

            with model.trace("a photo of a fox", model.sample_codes("a photo of a fox", 0)) as look:
                words = look.with_gradient("lm.2").save()
                last = look["head.in"][:, -1].norm().save()
            torch.autograd.grad(last, words)

        `look[alias]` reads and replaces sites, whose positions are those of `hidden`. See `workbench.models.one_pass`
        for what nnsight asks of the block, and what is refused.
        """
        return trace(self, self.logits, codes, [prompts] if isinstance(prompts, str) else list(prompts))

    def encode(self, prompts: Given, role: Role = "cond") -> Encoding:
        """The prompts as the language model receives them: token embeddings in their layout. Gradients flow through.

        Nothing else stands between a prompt and the picture; what becomes of it inside is read at the sites `lm.…`.

        Args:
            prompts: Texts, token ids or token embeddings.
            role: "uncond": as guidance's other branch reads them, with padding in the place of the words.

        Returns:
            Rows `[rows, tokens, d]`, padded on the left to the longest.

        Raises:
            WorkbenchError: For no prompts, ids or embeddings that do not fit the model, and a prompt that leaves no
                room for the picture.
        """
        rows = as_prompts(prompts)
        encoding = self.architecture.encode(rows, role)
        return Encoding(encoding.embeddings, None, encoding.roles, self._texts(rows) if role == "cond" else None)

    def said(self, prompts: TokenIds) -> list[str]:
        """What the tokenizer reads in the words of each prompt, whether or not it makes the same ids of it."""
        layout, read = self.architecture.layout, self.pipe.tokenizer.decode
        return [read(layout.words(row), skip_special_tokens=True).strip() for row in prompts.ids[0]]

    def texts(self, prompts: TokenIds) -> list[str | None]:
        """The text of each prompt that is tokenized to the same ids again; None where no text is."""
        layout, texts = self.architecture.layout, self.said(prompts)
        own = [row[layout.attended(row[None])[0]].tolist() for row in prompts.ids[0]]
        return [text if layout.row(text) == ids else None for text, ids in zip(texts, own, strict=True)]

    def tokens(self, prompts: str | Sequence[str]) -> list[TokenRow]:
        """The tokens of each prompt in its layout, from the begin token to the begin-of-image token."""
        texts = [prompts] if isinstance(prompts, str) else prompts
        rows = [self.architecture.layout.row(text) for text in texts]
        return [TokenRow(tuple(ids), tuple(spelt(self.pipe.tokenizer, ids))) for ids in rows]

    def prompt_state(self) -> tuple:
        """What changes whenever prompts would be read otherwise; to compare, not to keep. Cheap."""
        found = components(self.pipe)
        return tuple((name, *state_of(part)) for name, part in found if name in ("language_model", "tokenizer"))

    def _batch(self, requests: Sequence[Request], sampling: Sampling) -> Codes:
        given = [one.prompt for one in requests]
        start = together(given) if isinstance(given[0], Continued) else None
        prompts = joined(given) if start is None else as_prompts(start.prompts)
        texts = self._texts(prompts)
        line, aside = self.architecture.line(prompts, "cond", texts), 0
        choose, begun = Chooser(sampling, [one.seed for one in requests]), None if start is None else start.codes
        if not sampling.doubles_rows:
            return written(self.pipe, self.wiring.calls, line, choose, begun)
        line = line.beside(self._unconditional(prompts, texts))
        if self.guiding.turns:
            line, aside = line.beside(self.architecture.line(prompts, "uncond", texts)), len(requests)
        return written(self.pipe, self.wiring.calls, line, lambda z: choose(self.guiding.joined(z)), begun, aside)

    def _unconditional(self, prompts: Prompts, texts: tuple[str | None, ...] | None) -> Line:
        """The rows of guidance's other branch: padding in the place of the words, or the negative text."""
        text = self.guiding.text
        if not text:
            return self.architecture.line(prompts, "uncond", texts)
        negative = self.architecture.line([text] * len(prompts), "cond", texts)
        role: Role = "uncond"
        return replace(negative, roles=(role,) * len(prompts))

    def _line(self, codes: Codes, prompts: Given, role: Role) -> Line:
        """The prompts with all but the last of the tokens behind them."""
        rows = as_prompts(prompts)
        if len(rows) not in (1, len(codes)):
            raise WorkbenchError(
                f"There are {len(rows)} prompts and {len(codes)} pictures.", "Give a prompt for each, or one for all."
            )
        if role == "uncond" and self.guiding.turns:
            raise WorkbenchError(
                "The control of a negative prompt acts where both branches are joined, and here is one alone.",
                "Use the edit itself, or make pictures.",
            )
        texts = self._texts(rows)
        line = self._unconditional(rows, texts) if role == "uncond" else self.architecture.line(rows, role, texts)
        line = line.expand(len(codes))
        return line.followed_by(self.pipe, codes[:, :-1].to(self.device))

    def _announced(self, line: Line) -> Any:
        return self.wiring.calls.announced("image", line.roles, line.prompts, None, lambda: line.tokens)


def as_janus(model: Model, what: str) -> Janus:
    """The model, which writes pictures token by token. Raises `WorkbenchError` if it does not; `what` is what needs
    one."""
    if not isinstance(model, Janus):
        raise WorkbenchError(
            f"{what} needs a model that writes pictures token by token, and {model.name} is none.",
            "Choose a Janus, such as toy-janus.",
        )
    return model
