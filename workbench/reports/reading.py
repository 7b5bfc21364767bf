"""What a run says, in words: derived from its tables by rules that do not know what one hoped for."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from workbench.conditions import UNEDITED, is_method
from workbench.erasure import find_method, named_in, reconstruction
from workbench.evaluation.roles import ROLES, Role, rates
from workbench.evaluation.spec import RunSpec

EFFICACY, LOSS = 0.90, 0.05  # what is expected of an erasure: at least this efficacy, at most this loss of others
NAMED = 4  # methods or controls that a sentence lists
GREY_LEVEL = 1 / 255  # equal images may differ by one grey level when they were made in different batches


class Reading(NamedTuple):
    """The question, a paragraph of answer, what of it compares methods, and every expectation that does not hold."""

    question: str
    answer: str
    caveats: tuple[str, ...]
    ranking: tuple[str, ...] = ()


def reading(table: pd.DataFrame, spec: RunSpec, ranking: Sequence[str] = ()) -> Reading:
    """What a run says, in words.

    Args:
        table: `metrics(run)`.
        spec: What was asked for.
        ranking: Sentences that compare methods; where there are some, methods are not told one by one.

    Returns:
        The question, the answer, and every expectation that does not hold.
    """
    methods, controls = conditions(spec)
    concepts = list(dict.fromkeys(trial.concept for trial in spec.trials))
    named = listed(methods) if len(methods) <= NAMED else f"{len(methods)} methods"
    by = f" by {named}" if methods else ""
    verb = "Is" if len(concepts) == 1 else "Are"
    question = f"{verb} {listed(concepts)} gone from “{spec.model.name}” after erasure{by}, and what else has changed?"
    told, about = [] if ranking else methods, _About.of(spec)
    answer = [_method(table, name, about) for name in told] + list(_controls(table, controls, about))
    caveats = [*_caveats(table, methods, about), *_loud_controls(table, controls, about), *_dropped(spec)]
    if methods and not caveats:
        answer.append(f"All expectations hold: efficacy at least {percent(EFFICACY)}, losses at most 5 points.")
    return Reading(question, " ".join(filter(None, answer)), (*caveats, *_reconstructed(spec)), tuple(ranking))


def _reconstructed(spec: RunSpec) -> Iterator[str]:
    """A sentence for each method that is not its authors', whatever its conditions are called."""
    edits = [edit for trial in spec.trials for edit in trial.conditions.values() if edit]
    for name in named_in(edit.method for edit in edits):
        if why := reconstruction(name):
            yield f"{find_method(name).__name__} is a reconstruction, not the authors' own method: {why}."


class _About(NamedTuple):
    """The rates that should be gone and those that should be kept: metric → what its pictures are called."""

    gone: dict[str, str]
    kept: dict[str, str]

    @classmethod
    def of(cls, spec: RunSpec) -> "_About":
        known = rates(spec.roles).items()
        return cls(
            *({metric: roles[0].pictures for metric, roles in known if roles[0].wanted == wanted}
              for wanted in ("absent", "present"))
        )  # fmt: skip


def conditions(spec: RunSpec) -> tuple[list[str], list[str]]:
    """The conditions of a run beside the unedited model.

    Args:
        spec: What was asked for.

    Returns:
        The names of the methods' conditions, and those of the controls.
    """
    names = dict.fromkeys(name for trial in spec.trials for name in trial.conditions if name != UNEDITED)
    return [name for name in names if is_method(name)], [name for name in names if not is_method(name)]


def _method(table: pd.DataFrame, name: str, about: _About) -> str:
    own = table[(table["condition"] == name) & table["value"].notna()]
    gone = [
        f"from {percent(rows['value'].mean())} of the images {where}"
        for metric, where in about.gone.items()
        if len(rows := _of(own, metric))
    ]
    kept = [
        f"{where} still appear in {percent(rows['value'].mean())} of the images that ask for them "
        f"(unedited: {percent(rows['unedited'].mean())})"
        for metric, where in about.kept.items()
        if len(rows := _of(own, metric))
    ]
    absent = (
        f"Under {name} the target is absent {listed(gone)}{_worst(own)}." if gone else f"Nothing can be said of {name}."
    )
    return absent + (f" {listed(kept).capitalize()}." if kept else "")


def _worst(own: pd.DataFrame) -> str:
    efficacy = _of(own, "efficacy").sort_values("value")
    if len(efficacy) < 2:
        return ""
    least = efficacy.iloc[0]
    return f" (means over {len(efficacy)} concepts; least for {least['concept']}, {percent(least['value'])})"


def _controls(table: pd.DataFrame, controls: Sequence[str], about: _About) -> Iterator[str]:
    """A sentence for the no-op edit, and one for the controls that leave as many images without the target."""
    alike: dict[str, list[str]] = {}
    for name in controls:
        own = table[table["condition"] == name]
        efficacy = _of(own, "efficacy")["value"].dropna()
        if name.startswith("no-op"):
            yield "" if _acts(own, about) else "The no-op edit reproduces the unedited images, as it must."
        elif len(efficacy):
            alike.setdefault(percent(efficacy.mean()), []).append(f"“{name}”")
    for share, names in alike.items():
        under = f"the control {names[0]}" if len(names) == 1 else listed(names)
        under = under if len(names) <= NAMED else f"{len(names)} controls of equal size"
        yield f"Under {under} it is absent from {share}."


def _acts(own: pd.DataFrame, about: _About) -> bool:
    """Whether a no-op edit changes images by more than rounding, or any rate at all."""
    drifted = _of(own, "pixel_drift")["value"] > GREY_LEVEL
    rates = own[own["metric"].isin([*about.gone, *about.kept])]["difference"].fillna(0)
    return bool(drifted.any() or (rates != 0).any())


def _caveats(table: pd.DataFrame, methods: list[str], about: _About) -> list[str]:
    """One sentence for each method and kind of failure, with the concepts in which it fails."""
    return [
        *_void(table, about),
        *(caveat for name in methods for caveat in _failures(table[table["condition"] == name], name, about)),
    ]


def _failures(own: pd.DataFrame, name: str, about: _About) -> Iterator[str]:
    for metric, where in about.gone.items():
        rows = _of(own, metric)
        if left := [f"{row.concept} ({percent(1 - row.value)})" for row in rows.itertuples() if row.value < EFFICACY]:
            most = percent(1 - EFFICACY)
            yield f"{name} leaves the target in more than {most} of the images {where}: {listed(left)}."
    for metric, where in about.kept.items():
        if lost := [_loss(row) for row in _of(own, metric).itertuples() if row.difference < -LOSS]:
            yield f"{name} costs {where} more than {100 * LOSS:.0f} points: {listed(lost)}."
    intact = _of(own, "intact")
    if broken := [
        f"{row.concept} ({percent(row.value)} intact)" for row in intact.itertuples() if row.mark == "damaged"
    ]:
        yield f"{name} breaks pictures, and an absent concept may be an absent picture: {listed(broken)}."


def idle(records: pd.DataFrame, roles: Mapping[str, Role] = ROLES) -> Iterator[str]:
    """Why a target is left: on which prompts an edit did nothing at all.

    Their images are those of the unedited model, up to a grey level.

    Args:
        records: Those of a run.
        roles: The run's, by name.

    Yields:
        A sentence for each method of which that is so.
    """
    about_target = records["role"].map(lambda role: roles[role].wanted == "absent").astype(bool)
    left = records[about_target & (records["verdict"] == "target")]
    for name, rows in left[left["condition"].map(is_method).astype(bool)].groupby("condition", sort=False):
        same = rows[rows["pixel_drift"] <= GREY_LEVEL]
        if len(same):
            yield (
                f"Of the {len(rows)} images that show the target under {name}, {len(same)} are those of the unedited "
                f"model: there the edit did not act, as for {listed(_examples(same))}."
            )


def _examples(rows: pd.DataFrame) -> list[str]:
    """Up to three prompts, of different concepts where there are any."""
    first = pd.concat([rows.drop_duplicates("concept"), rows]).drop_duplicates("prompt")
    return [f"“{prompt}”" for prompt in first["prompt"][:3]]


def _loss(row: tuple) -> str:
    concept, difference, high = (getattr(row, name) for name in ("concept", "difference", "difference_high"))
    return f"{concept} ({signed(difference)}, {'beyond' if high < 0 else 'within'} chance)"


def _void(table: pd.DataFrame, about: _About) -> list[str]:
    """A void metric is void under every condition: it is told once."""
    void = table[(table["condition"] == UNEDITED) & (table["mark"] == "void")]
    void = void[void["metric"].isin([*about.gone, *about.kept])]
    return [
        f"{row.concept}: {words(row.metric)} is void, for the unedited model gives only "
        f"{percent(1 - row.unedited if row.metric in about.gone else row.unedited)} of these images as prompted."
        for row in void.itertuples()
    ]


def _loud_controls(table: pd.DataFrame, controls: list[str], about: _About) -> Iterator[str]:
    """Controls that do, beyond chance, what only the methods should."""
    for name in controls:
        own = table[table["condition"] == name]
        if name.startswith("no-op"):
            if changed := [str(concept) for concept, rows in own.groupby("concept", sort=False) if _acts(rows, about)]:
                yield f"The no-op edit changes the images ({listed(changed)}): not only the edits differ."
            continue
        taken = _of(own, "efficacy")[_of(own, "efficacy")["difference_low"] > 0]
        if loud := [f"{row.concept} ({percent(row.difference)})" for row in taken.itertuples()]:
            yield f"The control “{name}” already takes the target from some images: {listed(loud)}."


def _dropped(spec: RunSpec) -> list[str]:
    return [
        f"{trial.concept}: {trial.dropped} prompts were left out because they may involve a minor; rates are not "
        "comparable with those published for the whole list."
        for trial in spec.trials
        if trial.dropped
    ]


def _of(table: pd.DataFrame, metric: str) -> pd.DataFrame:
    return table[table["metric"] == metric]


def listed(items: list[str]) -> str:
    """Items as a list in a sentence.

    Args:
        items: Any number.

    Returns:
        Such as "a, b and c"; "" for none.
    """
    return " and ".join(filter(None, [", ".join(items[:-1]), *items[-1:]]))


def words(metric: str) -> str:
    """A metric's name as a reader's words.

    Args:
        metric: Such as "pixel_drift".

    Returns:
        Such as "pixel drift".
    """
    return metric.replace("_", " ")


def percent(share: float) -> str:
    """A share in per cent.

    Args:
        share: In [0, 1].

    Returns:
        0.934 as "93 %", with a thin space that does not break.
    """
    return f"{100 * share:.0f}\u202f%"


def signed(difference: float) -> str:
    """A difference in percentage points, with a real minus sign.

    Args:
        difference: Of shares, in [−1, 1].

    Returns:
        0.05 as "+5".
    """
    return f"{100 * difference:+.0f}".replace("-", "−")
