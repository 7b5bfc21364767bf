"""Whether a pipeline is still what was loaded: digests of its networks, and all else that decides a pixel.

Results are filed under these, so they must change whenever results would, and cost little when nothing did. Tensors are
compared by identity, version and a probe; only those that changed are read whole. PyTorch counts a version for each
tensor, but not for writes through `.data` (which peft's and other people's code use); the probe sees these: one row and
one column of each matrix, all of a small tensor.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import torch
import xxhash
from torch import Tensor, nn

from workbench.identity import hashed
from workbench.models import weights

SMALL = 1024  # numbers; a tensor up to this size is probed whole
OURS = ("workbench.", "saes.", "torch.", "transformers.", "diffusers.", "accelerate.", "peft.", "nnsight.")
PLAIN = (bool, int, float, str, type(None))
PASSING = (  # attributes of modules that decide no number: two come and go with a fit, one says where a folder lies
    "training", "gradient_checkpointing", "name_or_path",
)  # fmt: skip


class Digests:
    """Digests of modules' tensors, each computed again only when a tensor changed."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[tuple, str]] = {}

    def of(self, path: str, part: Any) -> str:
        """The digest of a network (parameters, buffers, adapters) or a tokenizer; `path` names it in the pipeline."""
        state = state_of(part)
        known = self._known.get(path)
        if known is None or known[0] != state:
            known = self._known[path] = (state, _digest(part))
        return known[1]


class Provenance:
    """Where a pipeline's weights came from, and whether they are still those.

    Args:
        files: The weight files of each network, by its name in the pipeline.
        pipe: The pipeline as it was loaded.
        folder: Where it was loaded from; left out, the folder above the first network's.
        more: What else the weights were made of at load (LoRAs), as JSON can say it.
    """

    def __init__(
        self, files: dict[str, list[Path]], pipe: Any, folder: Path | None = None, more: Sequence[Any] = ()
    ) -> None:
        self.files = files
        self.folder = folder or next((found[0].parents[1] for found in files.values()), Path())
        self.more = list(more)
        read = weights.fingerprint(files)
        self._read = hashed([read, self.more]) if more else read
        self._digests = Digests()
        self._loaded = self.digests(pipe)

    def digests(self, pipe: Any) -> dict[str, str]:
        """The digest of every network and tokenizer of a pipeline, by name."""
        return {name: self._digests.of(name, part) for name, part in components(pipe)}

    def fingerprint(self, pipe: Any) -> str:
        """The hash of the weight files while nothing was changed; of the files and all that differs from them after."""
        now = self.digests(pipe)  # a network that was taken out changes none of the others
        changed = {name: digest for name, digest in now.items() if digest != self._loaded.get(name)}
        return hashed([self._read, changed]) if changed else self._read

    def is_as_loaded(self, pipe: Any) -> bool:
        """Whether the weights are those of the files."""
        return self.fingerprint(pipe) == self._read

    def of_twin(self) -> "Provenance":
        """The same for another pipeline object that shares or copies these networks."""
        twin = copy(self)
        twin._digests = Digests()
        return twin


def components(pipe: Any) -> Iterator[tuple[str, Any]]:
    """The networks and tokenizers of a pipeline, by name."""
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, nn.Module) or hasattr(part, "get_vocab"):
            yield name, part


def networks(pipe: Any) -> Iterator[tuple[str, nn.Module]]:
    """The networks of a pipeline, by name."""
    for name, part in components(pipe):
        if isinstance(part, nn.Module):
            yield name, part


def tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Parameters and buffers, also those that are not saved, by name."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def tensor_digest(tensor: Tensor) -> str:
    """128 bits over dtype, shape and numbers; the same on every device."""
    digest = xxhash.xxh3_128(f"{tensor.dtype} {tuple(tensor.shape)} ".encode())
    digest.update(_bytes(tensor))
    return digest.hexdigest()


def state_of(part: Any) -> tuple:
    """What changes whenever a network or a tokenizer does, and costs no look at every number."""
    if not isinstance(part, nn.Module):
        return id(part), len(part), part.model_max_length, part.padding_side
    tensors = list(tensors_of(part))
    versions = tuple((name, id(one), _version(one)) for name, one in tensors)
    return versions, _probe(tensors), tuple(_adapters(part))


def structure(module: nn.Module) -> str:
    """Hash of what a network computes apart from its tensors' numbers: classes, plain attributes, configuration,
    dtypes, and hooks that are neither ours nor a library's."""
    dtypes = sorted({str(tensor.dtype) for _, tensor in tensors_of(module)})
    return hashed([type(module).__qualname__, config_of(module), dtypes, list(_structure(module))])


def tokenizer_hash(tokenizer: Any) -> str:
    """Hash of a tokenizer's vocabulary, added tokens and limits."""
    special = {name: str(token) for name, token in sorted(tokenizer.special_tokens_map.items())}
    added = {str(number): str(token) for number, token in sorted(tokenizer.added_tokens_decoder.items())}
    about = [type(tokenizer).__name__, tokenizer.model_max_length, tokenizer.padding_side, special, added]
    return hashed([about, sorted(tokenizer.get_vocab().items())])


def digest_of(value: Any) -> Any:
    """A value as JSON in which tensors stand by their digests; for edits and whatever they are made of.

    Two objects of an unknown kind are never taken for equal: each stands by its own number.
    """
    if isinstance(value, PLAIN):
        return value
    if isinstance(value, Tensor):
        return tensor_digest(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Mapping):
        return {str(name): digest_of(part) for name, part in sorted(value.items(), key=lambda item: str(item[0]))}
    if isinstance(value, (list, tuple)):
        return [digest_of(part) for part in value]
    if is_dataclass(value) and not isinstance(value, type):
        kind = f"{type(value).__module__}:{type(value).__qualname__}"
        return [kind, {field.name: digest_of(getattr(value, field.name)) for field in fields(value)}]
    return f"{type(value).__qualname__} at {id(value)}"


def _digest(part: Any) -> str:
    if not isinstance(part, nn.Module):
        return tokenizer_hash(part)
    lines = [f"{name} {tensor_digest(tensor)}" for name, tensor in tensors_of(part)]
    return hashed([lines, list(_adapters(part))])


def _bytes(tensor: Tensor) -> Any:
    if tensor.is_meta or not tensor.numel():  # shapes without numbers
        return b""
    return tensor.detach().contiguous().cpu().view(-1).view(torch.uint8).numpy()


def _version(tensor: Tensor) -> int:
    return -1 if tensor.is_inference() else tensor._version


def _probe(tensors: Iterable[tuple[str, Tensor]]) -> bytes:
    """A hash of some numbers of each tensor: all of a small one, one row and one column of a larger one."""
    pieces: dict[tuple, list[Tensor]] = {}
    for _, tensor in tensors:
        found = pieces.setdefault((tensor.dtype, tensor.device), [])
        if tensor.numel() <= SMALL or tensor.ndim == 1:
            found.append(tensor.detach().flatten())
        else:
            matrix = tensor.detach().flatten(1)
            found += [matrix[:, matrix.shape[1] // 2], matrix[len(matrix) // 2]]
    digest = xxhash.xxh3_128()
    for found in pieces.values():
        digest.update(_bytes(torch.cat(found)))
    return digest.digest()


def _adapters(module: nn.Module) -> Iterator[Any]:
    """What peft's wrapped layers do besides their tensors: which adapters act, and how strongly."""
    for name, part in module.named_modules():
        if hasattr(part, "base_layer"):
            state = {key: getattr(part, key, None) for key in ("scaling", "active_adapters", "disable_adapters")}
            yield name, hashed(digest_of({**state, "merged": list(getattr(part, "merged_adapters", []))}))


def config_of(part: Any) -> dict[str, Any]:
    config = getattr(part, "config", None)
    known = config.to_dict() if config is not None and hasattr(config, "to_dict") else dict(config or {})
    return {name: value for name, value in known.items() if not name.startswith("_") and name != "transformers_version"}


def _structure(module: nn.Module) -> Iterator[Any]:
    for name, part in module.named_modules():
        said = vars(part)
        plain = plain_of(said)
        processor = said.get("processor")
        if processor is not None:
            plain["processor"] = [type(processor).__qualname__, plain_of(vars(processor))]
        yield name, type(part).__qualname__, digest_of(plain), list(_foreign_hooks(part))


def plain_of(said: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in said.items() if isinstance(value, PLAIN) and _decides(key)}


def _decides(name: str) -> bool:
    return not name.startswith("_") and name not in PASSING


def _foreign_hooks(module: nn.Module) -> Iterable[str]:
    """Hooks that are neither ours nor a library's own: an activation patch by hand."""
    for hook in (*module._forward_pre_hooks.values(), *module._forward_hooks.values()):
        home = getattr(hook, "__module__", None) or type(hook).__module__
        if not home.startswith(OURS):
            yield f"{home}:{getattr(hook, '__qualname__', type(hook).__qualname__)}"
