"""`explain`: the evidence about every method of a run, collected once and kept in the run folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from saes.errors import WorkbenchError
from saes.progress import SILENT, Progress
from workbench.activations.autoencoders import open_sae
from workbench.concepts import Concept
from workbench.conditions import is_method
from workbench.edits import load_edit
from workbench.evaluation.judges import Judge
from workbench.evaluation.runs import Run
from workbench.evaluation.spec import EditSpec, Trial
from workbench.models import Diffusion, Model
from workbench.reports.collecting import collect, joined
from workbench.reports.evidence import Evidence, SAEFacts, read_evidence, write_evidence
from workbench.reports.interpreting import Tables, interpret
from workbench.reports.reading import conditions
from workbench.shipped import sae_folder


def explain(
    run: Run,
    model: Model,
    concepts: Iterable[Concept],
    judge: Judge,
    *,
    cards: int = 4,
    saes: Sequence[str | Path] = (),
    progress: Progress = SILENT,
) -> Evidence:
    """Collects feature cards, attention maps and what lies inside for every method and concept of the run.

    Pictures are made as the run makes its own. What was collected before is read from the run folder instead.

    Args:
        run: A finished run.
        model: The run's model, without any edit.
        concepts: Those of the run, with the prompts that their features are looked for in; others are passed over.
        judge: It must know them.
        cards: Features of each condition that are shown.
        saes: Folders or shipped names, one a site, that are followed beside those that the edits were fitted with.
        progress: Shows what is being collected.

    Returns:
        The evidence, which is now in the run folder; of a model that is no diffusion only features on pictures.

    Raises:
        WorkbenchError: An autoencoder is of another model.
    """
    if (known := read_evidence(run.dir)) is not None:
        return known
    methods, _ = conditions(run.spec)
    by_name = {concept.name: concept for concept in concepts}
    parts = [
        collect(run, model, by_name[trial.concept], judge, name, facts=facts(run, edit), cards=cards, progress=progress)
        for trial in run.spec.trials
        for name in methods
        if trial.concept in by_name and (edit := trial.conditions.get(name))
    ]
    if isinstance(model, Diffusion):
        parts += [
            Evidence(tables=_tables(run, model, by_name[trial.concept], trial, saes, progress))
            for trial in run.spec.trials
            if trial.concept in by_name
        ]
    found = joined(parts)
    write_evidence(run.dir, found)
    return found


def _tables(
    run: Run, model: Diffusion, concept: Concept, trial: Trial, saes: Sequence[str | Path], progress: Progress
) -> Tables:
    """What lies inside under each method, and under one control that changes something: each takes as long."""
    names = [name for name, spec in trial.conditions.items() if spec and not name.startswith("no-op")]
    controls = [name for name in names if not is_method(name)]
    edits = {
        name: load_edit(run.dir / "edits" / spec.hash)
        for name in names
        if (spec := trial.conditions[name]) and name not in controls[1:]
    }
    own = [edit.settings["sae"] for edit in edits.values() if edit.settings.get("sae")]
    sites: dict[str, Path] = {}
    for sae in (*own, *saes):  # one a site, those of the edits first
        if (folder := sae_folder(sae)).exists():
            sites.setdefault(open_sae(folder).cfg.metadata.hook_name, folder)
    sampling = run.spec.settings
    return interpret(model, concept, edits, saes=list(sites.values()), progress=progress, **sampling)


def facts(run: Run, edit: EditSpec) -> SAEFacts | None:
    """What is known of the autoencoder that an edit was fitted with.

    Args:
        run: Has the edit in its folder.
        edit: Which.

    Returns:
        Its facts; None if the edit used none, or one that is gone or was never measured.
    """
    if not (name := load_edit(run.dir / "edits" / edit.hash).settings.get("sae")):
        return None
    try:
        sae = open_sae(name)
    except WorkbenchError:
        return None  # the edit carries what it needs of it, so a report is possible without
    if not (measured := sae.cfg.metadata.metrics):
        return None
    return SAEFacts(
        site=sae.cfg.metadata.hook_name, architecture=sae.cfg.architecture(), d_sae=sae.cfg.d_sae,
        **{name: measured[name] for name in ("l0", "explained_variance", "dead_share")},
    )  # fmt: skip
