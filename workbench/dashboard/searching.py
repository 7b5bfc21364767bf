"""Finding features by number, name, word or concept."""

from typing import NamedTuple

import pandas as pd

PAGE = 24  # features on a page


class Found(NamedTuple):
    """One page of what was found, and how much there is."""

    rows: pd.DataFrame
    total: int
    page: int
    pages: int


def search(index: pd.DataFrame, query: str = "", sae: str = "", sort: str = "match", page: int = 1) -> Found:
    """The page of features that match, best first.

    A number finds the features of that number. A text finds those whose name, words or concept hold it; by "match",
    names count most, then concepts, then whole words, then the rest; of equals the clearest concept is first.

    Args:
        index: `Library.index`.
        query: What is searched for, "" for all.
        sae: The only SAE, "" for all.
        sort: One of `links.SORTS`.
        page: From 1; one beyond the last is the last.

    Returns:
        Rows of the index, `PAGE` at most.
    """
    rows = index[index["sae"] == sae] if sae else index
    wanted = query.strip().casefold().removeprefix("#")
    if wanted.isdecimal():
        rows = rows[rows["feature"] == int(wanted)]
    elif wanted:
        rows = rows.assign(match=_match(rows, wanted))
        rows = rows[rows["match"] > 0]
    rows = _sorted(rows, sort)
    pages = max(1, -(-len(rows) // PAGE))
    page = min(max(page, 1), pages)
    return Found(rows.iloc[(page - 1) * PAGE : page * PAGE], len(rows), page, pages)


def _match(rows: pd.DataFrame, wanted: str) -> pd.Series:
    """4 for the name, 3 for the concept itself, 2 for a whole word, 1 for a part of word or concept, added up."""

    def holds(column: pd.Series) -> pd.Series:
        return column.str.casefold().str.contains(wanted, regex=False)

    whole = (" " + rows["words"].str.casefold() + " ").str.contains(f" {wanted} ", regex=False)
    concept = rows["concept"].str.casefold() == wanted
    tiers = [holds(rows["words"]) | holds(rows["concept"]), whole, concept, holds(rows["name"])]
    return pd.concat([tier * value for value, tier in enumerate(tiers, 1)], axis=1).sum(axis=1)


def _sorted(rows: pd.DataFrame, sort: str) -> pd.DataFrame:
    if sort == "density":
        return rows.sort_values(["density", "feature"], ascending=[False, True])
    if sort == "score":
        return rows.sort_values(["auc", "largest"], ascending=False, na_position="last")
    if sort == "match" and "match" in rows:
        return rows.sort_values(["match", "auc", "largest"], ascending=False, na_position="last")
    return rows
