"""Attention probabilities, read by stepping in between a model and `scaled_dot_product_attention`.

All attention of diffusers and transformers ends in this one function of torch, so the same few lines work for every
architecture, and the model's attention processors stay as they are.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from saes.errors import WorkbenchError
from workbench.hooks.clock import Clock, Role
from workbench.hooks.session import Wired, compact

AT_ONCE = 2**22  # probabilities computed in one product
Span = tuple[int | None, int | None]  # from, to; as in a slice


@dataclass(frozen=True)
class AttentionSite:
    """An attention module, and which of its queries are picture and which of its keys are text.

    Cross-attention has nothing else. Where picture and text attend jointly, `pixels` and `tokens` cut their parts out.
    """

    alias: str
    path: str
    pixels: Span = (None, None)
    tokens: Span = (None, None)
    component: Literal["prompt", "image"] = "image"


Keep = Callable[[AttentionSite, Tensor, Clock], Tensor | None]


class AttentionRecorder:
    """Records attention probabilities, averaged over heads, at chosen modules while its `with` block runs.

    `records[alias]` lists `(clock, probabilities [rows, pixels, tokens])` call by call, detached, in float32. A row
    sums to 1 over the tokens in cross-attention, to at most 1 where the picture is attended as well. `keep` thins each
    record as in `Session`: large models give many megabytes a call. With `heads` it is not averaged, and records are
    `[rows, heads, pixels, tokens]`. With a `role`, only its rows are computed, and
    calls that have none of them are passed over. A module that saw no attention call although its component ran is a
    `WorkbenchError` at the end of the block. The stepping-in is for the whole process: no other thread may enter or
    leave a recorder meanwhile.
    """

    def __init__(
        self,
        model: Wired,
        sites: Sequence[AttentionSite],
        keep: Keep | None = None,
        role: Role | None = None,
        *,
        heads: bool = False,
    ) -> None:
        self.records: Mapping[str, list[tuple[Clock, Tensor]]] = {site.alias: [] for site in sites}
        self._wiring = model.wiring
        self._sites = sites
        self._keep = keep
        self._role = role
        self._heads = heads
        self._inside: AttentionSite | None = None
        self._seen: set[str] = set()
        self._stack = ExitStack()

    def __enter__(self) -> "AttentionRecorder":
        with ExitStack() as stack:
            stack.enter_context(self._wiring.followed())
            for site in self._sites:
                module = self._wiring.find(site.path)
                stack.callback(module.register_forward_pre_hook(self._enters(site)).remove)
                stack.callback(module.register_forward_hook(self._leaves, always_call=True).remove)
            stack.enter_context(self._stepping_in())
            self._stack = stack.pop_all()
        self._runs = self._wiring.calls.runs.copy()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._stack.close()
        for site in self._sites if kind is None else ():
            runs = self._wiring.calls.runs[site.component] - self._runs[site.component]
            if runs and site.alias not in self._seen:
                raise WorkbenchError(
                    f"The {site.component} component ran, but `{site.path}` never called scaled_dot_product_attention.",
                    "Give the model its default attention processor, and do not compile it.",
                )

    def _enters(self, site: AttentionSite) -> Callable:
        def enters(module: nn.Module, args: tuple) -> None:
            self._inside = site

        return enters

    def _leaves(self, module: nn.Module, args: tuple, output: Any) -> None:
        self._inside = None

    @contextmanager
    def _stepping_in(self) -> Iterator[None]:
        original = F.scaled_dot_product_attention

        def attention(query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if self._inside is not None:
                self._record(self._inside, query, key, *args, **kwargs)
            return original(query, key, value, *args, **kwargs)

        F.scaled_dot_product_attention = attention
        try:
            yield
        finally:
            F.scaled_dot_product_attention = original

    def _record(self, site: AttentionSite, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> None:
        clock = self._wiring.calls.now(site.path.split(".")[0])
        if clock is None:  # a block run again for its gradients: recorded in the forward pass
            return
        clock = clock.own
        self._seen.add(site.alias)
        rows = [row for row, role in enumerate(clock.roles) if self._role in (None, role)]
        if not rows:
            return
        with torch.no_grad():
            given = (query, key, slice(*site.pixels), rows, *args)
            seen = probabilities(*given, each_head=self._heads, **kwargs)[..., slice(*site.tokens)]
            kept = seen if self._keep is None else self._keep(site, seen, clock)
        if kept is not None:
            self.records[site.alias].append((clock, compact(kept)))


def probabilities(
    query: Float[Tensor, "all_rows heads queries d"],
    key: Float[Tensor, "all_rows key_heads keys d"],
    chosen: slice = slice(None),
    rows: Sequence[int] | None = None,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
    *,
    each_head: bool = False,
) -> Float[Tensor, "rows *heads chosen keys"]:
    """softmax(q kᵀ · scale + mask) of the chosen queries and rows, averaged over heads unless `each_head`; else
    arguments as torch's own.

    As many heads are taken at once as fit into `AT_ONCE` numbers: small maps in one product, large ones head by head.
    """
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    mask = torch.ones(query.shape[-2], key.shape[-2]).tril().bool().to(query.device) if is_causal else attn_mask
    mask = None if mask is None else _added(mask)[..., chosen, :]
    if rows is not None and len(rows) < len(query):
        mask = mask if mask is None or len(mask) == 1 else mask[rows]
        query, key = query[rows], key[rows]
    query = query[:, :, chosen]
    sharing, heads = query.shape[1] // key.shape[1], query.shape[1]  # several query heads may share a key head
    key = key if sharing == 1 else key.repeat_interleave(sharing, 1)
    step = max(1, AT_ONCE // (len(query) * query.shape[2] * key.shape[2]))
    total = query.new_zeros((), dtype=torch.float32)
    separate: list[Tensor] = []
    for start in range(0, heads, step):
        some = slice(start, start + step)
        logits = query[:, some].float() * scale @ key[:, some].float().mT
        if mask is not None:
            logits = logits + (mask if mask.shape[1] == 1 else mask[:, some])
        seen = torch.softmax(logits, dim=-1)
        if mask is not None:  # a query that sees no key: 0 everywhere, as in torch
            seen = seen.masked_fill((logits == -torch.inf).all(dim=-1, keepdim=True), 0.0)
        if each_head:
            separate.append(seen)
        else:
            total = total + seen.sum(dim=1)
    return torch.cat(separate, dim=1) if each_head else total / heads


def _added(mask: Tensor) -> Float[Tensor, "rows_or_1 heads_or_1 queries keys"]:
    """A mask as torch takes it (True where attended, or numbers to add) as numbers to add to the logits."""
    if mask.dtype == torch.bool:
        mask = torch.zeros_like(mask, dtype=torch.float32).masked_fill(~mask, float("-inf"))
    return mask.float()[(None,) * (4 - mask.dim())]
