"""The addresses of the pages: every state that is worth sharing or going back to is in them."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlencode

SORTS = ("match", "number", "density", "score")
_FEATURE = re.compile(r"/sae/(.+)/feature/(\d+)")
_CONCEPT = re.compile(r"/concept/(.+)")


@dataclass(frozen=True)
class Address:
    """A page by its kind (a key of `pages.PAGES`, or "missing") and what it is of."""

    kind: str
    sae: str = ""
    feature: int = 0
    concept: str = ""
    query: str = ""
    sort: str = "match"
    page: int = 1
    features: tuple[int, ...] = ()
    prompt: str = ""


def read_address(pathname: str | None, search: str | None) -> Address:
    """What a browser's path and query ask for.

    Args:
        pathname: The path.
        search: The query, with or without its "?".

    Returns:
        The address; whatever cannot be read is "missing" or left at its default.
    """
    path = unquote(pathname or "/").rstrip("/") or "/"
    given = {name: values[0] for name, values in parse_qs((search or "").lstrip("?")).items()}
    if path == "/":
        page = int(given.get("page", "1")) if given.get("page", "1").isdecimal() else 1
        sort = given.get("sort", "match")
        return Address(
            "browse", sae=given.get("sae", ""), query=given.get("q", ""), page=max(page, 1),
            sort=sort if sort in SORTS else "match",
        )  # fmt: skip
    if path == "/bench":
        numbers = tuple(int(one) for one in given.get("features", "").split(",") if one.strip().isdecimal())
        return Address("bench", sae=given.get("sae", ""), features=numbers, prompt=given.get("prompt", ""))
    if path in ("/words", "/picture", "/edits"):
        return Address(path[1:], sae=given.get("sae", ""), prompt=given.get("prompt", ""))
    if path == "/concepts":
        return Address("concepts")
    if found := _FEATURE.fullmatch(path):
        return Address("feature", sae=found[1], feature=int(found[2]))
    if found := _CONCEPT.fullmatch(path):
        return Address("concept", concept=found[1])
    return Address("missing")


def browse_link(query: str = "", sae: str = "", sort: str = "match", page: int = 1) -> str:
    """The address of the list of features.

    Args:
        query: What is searched for.
        sae: The only SAE, "" for all.
        sort: One of `SORTS`.
        page: From 1.

    Returns:
        Path and query.
    """
    given: dict[str, Any] = {"q": query, "sae": sae, "sort": sort if sort != "match" else "", "page": page - 1}
    kept = {name: value for name, value in given.items() if value}
    return "/" + (f"?{urlencode({**kept, **({'page': page} if page > 1 else {})})}" if kept else "")


def feature_link(sae: str, feature: int) -> str:
    """The address of one feature.

    Args:
        sae: The SAE's name on the dashboard.
        feature: Its number.

    Returns:
        A path.
    """
    return f"/sae/{quote(sae)}/feature/{feature}"


def concept_link(concept: str) -> str:
    """The address of one concept.

    Args:
        concept: Its name.

    Returns:
        A path.
    """
    return f"/concept/{quote(concept)}"


def bench_link(sae: str = "", features: Sequence[int] = (), prompt: str = "") -> str:
    """The address of the bench, with features and a prompt filled in.

    Args:
        sae: The SAE's name on the dashboard, "" for the first.
        features: Their numbers.
        prompt: The prompt, "" for the run's first.

    Returns:
        Path and query.
    """
    given = {"sae": sae, "features": ",".join(map(str, features)), "prompt": prompt}
    kept = {name: value for name, value in given.items() if value}
    return f"/bench?{urlencode(kept)}" if kept else "/bench"
