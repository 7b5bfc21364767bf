"""The handle on a text-to-image model, whatever makes its pictures."""

import warnings
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import replace
from functools import cached_property, partial
from html import escape
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import torch
from torch import Tensor, nn

from saes.errors import WorkbenchError, unknown_name
from saes.progress import SILENT, Progress
from workbench.hooks import AttentionSite, Role, Session, Site, SiteEdit, Wiring
from workbench.hooks.session import Keep
from workbench.identity import Identity, hashed
from workbench.models.architecture import Architecture, Defaults
from workbench.models.encoding import Encoding, TokenRow, token_row
from workbench.models.images import Images
from workbench.models.prompts import Given, Prompts, TokenEmbeddings, TokenIds, as_prompts
from workbench.models.provenance import Provenance, components, digest_of, state_of
from workbench.models.shifting import shifted
from workbench.models.word_places import written_out


@runtime_checkable
class Change(Protocol):
    """What `Model.edited` asks of an edit."""

    def installed(self, model: Any) -> AbstractContextManager:
        """In place while the block runs; afterwards the model is exactly as before."""
        ...


Handle = TypeVar("Handle", bound="Model")  # and no Self, which the shape checker of the tests refuses in a method


def module_in(pipe: Any, name: str, path: str) -> nn.Module:
    """The module at a path in the pipeline of a model of this name. Raises `WorkbenchError` if there is none.

    A function of its own, so that what finds modules need not hold the handle: a handle in a cycle, and the copies of a
    student with it, would stay in memory until Python looks for cycles.
    """
    found = pipe
    for part in path.split("."):
        found = getattr(found, part, None)
        if not isinstance(found, nn.Module):
            raise WorkbenchError(f"{name} has no module {path!r}.", "See `path` of the sites: model.sites().")
    return found


class Model(ABC):
    """A loaded text-to-image model. Made by `load`; nothing here changes its weights.

    What all kinds share: pictures of prompts, sites to read and edit, edits in place, parameters, and an identity.
    `kind` is a key of `workbench.models.capabilities.KINDS`. `pipe` is the library's own object that holds the
    components, for everything that this handle does not offer.
    """

    def __init__(self, name: str, architecture: Architecture, defaults: Defaults, provenance: Provenance) -> None:
        self.name = name
        self.kind = architecture.kind
        self.pipe = architecture.pipe
        self.architecture = architecture
        self.defaults = defaults
        self.wiring = Wiring(partial(module_in, self.pipe, name), architecture.components)  # no cycle: see `module_in`
        self.provenance = provenance
        self._in_place: list[Change] = []  # edits of the blocks of `edited` that are open, in their order
        self._composing = False  # whether fits belong into the open blocks
        self._weights = ""  # the fingerprint at the beginning of the outermost block

    @property
    def device(self) -> torch.device:
        """Where the picture's side is."""
        return getattr(self.pipe, self.architecture.image_side.path).device

    @property
    def folder(self) -> Path:
        """Where it was loaded from; for a hub id, the folder in the hub's cache; of a single file, the file."""
        return self.provenance.folder

    @property
    def is_edited(self) -> bool:
        """Whether a block of `edited` is open."""
        return bool(self._weights)

    @property
    def image_size(self) -> int:
        """The side of the square images, in pixels."""
        return self.defaults.image_size

    @property
    def own_file(self) -> dict[str, Any]:
        """What the `workbench.json` of a folder says when this model is saved there."""
        return self.defaults._asdict()

    @property
    @abstractmethod
    def settings(self) -> dict[str, bool | int | float | str]:
        """How `generate` samples beside prompts and seeds: its keyword arguments by name, with their defaults."""

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the weights as they are now: what edits and autoencoders are fitted on.

        Unchanged since loading it is the hash over the weight files, the same in every process and on every machine.
        Adapters, fused or edited weights and added tokens make it another one. Inside `edited` it is that of the model
        before the edits.
        """
        return self._weights if self.is_edited else self.provenance.fingerprint(self.pipe)

    @property
    def identity(self) -> Identity:
        """Everything that decides a picture or an activation, as it is now: what results are filed under.

        Besides the weights: configuration, structure and dtype of every network, scheduler, image size, and the edits
        in place. Cheap while nothing changes.
        """
        parts = self.architecture.parts(self.image_size)
        if self.is_edited:
            parts["edits"] = hashed([digest_of(edit) for edit in self._in_place])
        return Identity(self.fingerprint, parts)

    def prompt_state(self) -> tuple:
        """What changes whenever prompts would be encoded otherwise; to compare, not to keep. Cheap."""
        encoders = {part.path for part in self.architecture.prompt_sides}
        found = components(self.pipe)
        return tuple((name, *state_of(part)) for name, part in found if name in encoders or "tokenizer" in name)

    def twin(self: Handle, architecture: Any) -> Handle:
        """A second handle, on a pipeline that shares components with this one; edits in place count for both."""
        twin = type(self)(self.name, architecture, self.defaults, self.provenance.of_twin())
        twin._in_place, twin._weights, twin._composing = self._in_place, self._weights, self._composing
        return twin

    def check_unedited(self, what: str, *, unless_composing: bool = False) -> None:
        """Raises `WorkbenchError` inside a block of `edited`, whose results would pass for the unedited model's.

        Args:
            what: What cannot be done there, as the subject of the sentence.
            unless_composing: Whether a block that says `composing=True` is right for it.
        """
        if self.is_edited and not (unless_composing and self._composing):
            remedy = "Leave the block first"
            raise WorkbenchError(
                f"{what} inside `with model.edited(…)` would pass for one of the unedited model.",
                f"{remedy}, or open it with composing=True to fit an edit that comes after these."
                if unless_composing
                else f"{remedy}.",
            )

    @property
    def capabilities(self) -> frozenset[str]:
        """What methods may ask of this model, of `workbench.models.capabilities`."""
        return self.architecture.capabilities

    @abstractmethod
    def generate(
        self,
        prompts: Given,
        seeds: Any,
        *,
        batch_size: int = 16,
        progress: Progress = SILENT,
        **settings: Any,
    ) -> Images:
        """Images of the prompts. One prompt goes with all seeds, one seed with all prompts; else their numbers match.

        Args:
            prompts: Texts, token ids or token embeddings.
            seeds: Whole numbers 0 … 2⁶³ − 1, one or a sequence, of Python's, NumPy's or torch's. An image depends on
                its own prompt and seed alone, not on its batch.
            batch_size: Images at once.
            progress: Shows the batches.
            **settings: How to sample: names of `settings`, which holds the defaults.

        Returns:
            uint8 `[images, height, width, 3]`.
        """

    def encode(self, prompts: Given, role: Role = "cond") -> Encoding:
        """The prompts as the picture's side receives them, padded to the full length. Gradients flow through.

        Args:
            prompts: Texts, token ids or token embeddings. A text beyond the token limit is cut with a warning.
            role: What hooks are told of the rows.

        Raises:
            WorkbenchError: For no prompts, and ids or embeddings that do not fit the model.
        """
        rows = as_prompts(prompts)
        if isinstance(rows, list):
            self._warn_of_cuts(rows)
        known = self._texts(rows) if role == "cond" else None
        with self.wiring.calls.announced("prompt", (role,) * len(rows), known):
            return replace(self.architecture.encode(rows, role), prompts=known)

    def token_ids(self, prompts: str | Sequence[str]) -> TokenIds:
        """The texts as ids `[rows, tokens]` for every tokenizer, padded to the full length and cut there."""
        return self.architecture.token_ids([prompts] if isinstance(prompts, str) else list(prompts))

    @torch.no_grad()
    def token_embeddings(self, prompts: str | Sequence[str] | TokenIds) -> TokenEmbeddings:
        """What each text encoder looks up for the tokens, `[rows, tokens, d]`: the start of a soft prompt."""
        ids = prompts if isinstance(prompts, TokenIds) else self.token_ids(prompts)
        return TokenEmbeddings(ids.ids, self.architecture.looked_up(ids))

    def said(self, prompts: TokenIds) -> list[str]:
        """What the first tokenizer reads in the ids of each prompt, whether or not it makes the same ids of it."""
        return self.pipe.tokenizer.batch_decode(prompts.ids[0], skip_special_tokens=True)

    def texts(self, prompts: TokenIds) -> list[str | None]:
        """The text of each prompt that is tokenized to the same ids again; None where no text is."""
        read = self.said(prompts)
        pairs = zip(read, self.token_ids(read).rows(), prompts.rows(), strict=True)
        return [text if again.same(ids) else None for text, again, ids in pairs]

    def tokens(self, prompts: str | Sequence[str]) -> list[TokenRow]:
        """The tokens of each prompt for the first text encoder, without padding."""
        rows = [prompts] if isinstance(prompts, str) else prompts
        tokenizer = self.pipe.tokenizer
        return [token_row(tokenizer, written_out(self.pipe, tokenizer, prompt)) for prompt in rows]

    def sites(self) -> dict[str, Site]:
        """Every place that can be read and edited, by alias, in the order of the forward pass."""
        return dict(self._sites)

    def site(self, alias: str) -> Site:
        """The site of this alias, or what the module of this path hands on, as SAEs of other programs name their site.

        Raises `WorkbenchError` with the nearest ones if there is none.
        """
        if alias in self._sites:
            return self._sites[alias]
        of_module = [site for site in self._sites.values() if site.path == alias and site.slot == "output"]
        if len(of_module) != 1:
            raise unknown_name("site", alias, self._sites)
        return of_module[0]

    def attention_sites(self) -> dict[str, AttentionSite]:
        """Where the picture attends to the prompt, by alias; for `AttentionRecorder`."""
        return {site.alias: site for site in self.architecture.attention_sites(self.image_size)}

    def parameter(self, name: str) -> nn.Parameter:
        """The parameter of a name such as "unet.mid_block.….to_k.weight". Raises `WorkbenchError` if there is none."""
        path, _, last = name.rpartition(".")
        found = getattr(self.module(path), last, None)
        if not isinstance(found, nn.Parameter):
            raise WorkbenchError(f"{self.name} has no parameter {name!r}.", "See model.prompt_maps() for some.")
        return found

    def module(self, path: str) -> nn.Module:
        """The module at a path such as "unet.mid_block". Raises `WorkbenchError` if there is none."""
        return module_in(self.pipe, self.name, path)

    def session(
        self, record: Sequence[Site | str] = (), edits: Sequence[SiteEdit] = (), keep: Keep | None = None
    ) -> Session:
        """A `Session` on this model. Sites to record may be given by alias."""
        return Session(self, [self.site(site) if isinstance(site, str) else site for site in record], edits, keep)

    def shifted(self, deltas: Mapping[str, Tensor]) -> AbstractContextManager[None]:
        """The model with `deltas` added to its parameters, by name, while the block runs."""
        return shifted({name: self.parameter(name) for name in deltas}, deltas)

    @contextmanager
    def edited(self, *edits: Change, composing: bool = False) -> Iterator["Model"]:
        """The model with the edits in place, composed in this order, after those of an outer block.

        After the block the model is as before, also when its body raises: parameters are given back the very memory
        that they had. What is harvested or measured in the block is filed under the model and the edits.

        Args:
            edits: What to put in place.
            composing: Whether methods may be fitted in the block. Such an edit belongs after these.
        """
        with ExitStack() as stack:
            for name in ("_weights", "_in_place", "_composing"):
                stack.callback(setattr, self, name, getattr(self, name))
            self._weights = self.fingerprint if edits else self._weights
            self._composing = self._composing or composing
            for edit in edits:
                stack.enter_context(edit.installed(self))
                self._in_place = [*self._in_place, edit]
            yield self

    def __repr__(self) -> str:
        about = f"{self.kind}, {self.image_size} × {self.image_size}, {len(self._sites)} sites, {self.device}"
        return f"<{type(self).__name__} {self.name!r}: {about}>"

    def _repr_html_(self) -> str:
        rows = {"kind": self.kind, "pipeline": type(self.pipe).__name__, "device": self.device}
        rows["sites"] = len(self._sites)
        rows |= {name.replace("_", " "): value for name, value in self.defaults._asdict().items()}
        cells = "".join(f"<tr><th>{name}</th><td>{escape(str(value))}</td></tr>" for name, value in rows.items())
        return f"<table><caption>{escape(self.name)}</caption>{cells}</table>"

    @cached_property
    def _sites(self) -> dict[str, Site]:
        return {site.alias: site for site in self.architecture.sites(self.image_size)}

    def _texts(self, prompts: Prompts) -> tuple[str | None, ...] | None:
        """The prompts as texts, for whatever opens by them."""
        if isinstance(prompts, list):
            return tuple(prompts)
        found = [None] if isinstance(prompts, TokenEmbeddings) else self.texts(prompts)
        return None if all(text is None for text in found) else tuple(found)

    def _warn_of_cuts(self, prompts: list[str]) -> None:
        for tokenizer, limit in self.architecture.prompt_limits():
            written = [written_out(self.pipe, tokenizer, prompt) for prompt in prompts]
            lengths = [len(ids) for ids in tokenizer(written, truncation=False, verbose=False).input_ids]
            cut = [prompt for prompt, length in zip(prompts, lengths, strict=True) if length > limit]
            if cut:
                warnings.warn(
                    f"{len(cut)} of {len(prompts)} prompts are longer than {limit} tokens and were cut, first "
                    f"{cut[0]!r}.",
                    stacklevel=3,
                )
                return
