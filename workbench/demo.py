"""The whole story on the embedded world, in named steps that are skipped where their result exists already.

Activations and the autoencoder are shared by all concepts of a folder; the rest lies in a folder a concept. Each step
leaves something whole or goes on where it was interrupted, so running a demo again finishes it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from saes.errors import unknown_name
from saes.progress import Progress

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.edits import Edit
    from workbench.models import Model
    from workbench.runs import Run

SITE = "text.2"


class Step(NamedTuple):
    """What is said before some work, and the work, which returns what is said of its result ("" for nothing)."""

    words: str
    work: Callable[[Progress], str]


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    prompts: int
    samples: int
    d_sae: int
    per_role: int
    cards: int


FULL = Size(prompts=3000, samples=300_000, d_sae=1024, per_role=24, cards=4)
QUICK = Size(prompts=600, samples=100_000, d_sae=1024, per_role=2, cards=1)  # shows that everything runs, no more


@dataclass(frozen=True)
class Demo:
    """A demo in the folder `out` about one concept of the toy."""

    out: Path
    concept_name: str = "fox"
    size: Size = FULL
    seed: int = 0

    def steps(self) -> Iterator[Step]:
        """All steps in order, to be done one after the other. Raises `WorkbenchError` for an unknown concept."""
        name = self.concept.name
        yield Step(f"Reading the activations of {self.size.prompts} prompts at {SITE}", self.harvest)
        yield Step(f"Training a sparse autoencoder with {self.size.d_sae} features on them", self.train)
        yield Step(f"Finding the features of “{name}”", self.find)
        yield Step(f"Erasing “{name}” with Interpret-then-Deactivate (ItD)", self.erase)
        yield Step("Evaluating the edit beside the unedited model and two controls", self.evaluate)
        yield Step("Collecting what the features do and where the pictures attend", self.explain)
        yield Step("Writing the report", self.write)

    @property
    def report(self) -> Path:
        """Where the last step puts the report."""
        return self.out / "report.html"

    @cached_property
    def concept(self) -> "Concept":
        from workbench import toy

        known = toy.concepts()
        if self.concept_name not in known:
            raise unknown_name("concept of the toy", self.concept_name, known)
        return known[self.concept_name]

    @cached_property
    def model(self) -> "Model":
        from workbench.models import load

        return load("toy")

    @property
    def own(self) -> Path:
        """The folder of what is about this concept."""
        return self.out / self.concept.name.replace(" ", "-")

    @property
    def run(self) -> "Run":
        """The evaluation, once it has begun."""
        from workbench.runs import Run

        return Run.open(self.own / "run")

    def harvest(self, progress: Progress) -> str:
        import numpy as np

        from workbench.harvest import harvest
        from workbench.toy import captions

        rng = np.random.default_rng(self.seed)
        prompts = [captions.sample(rng, "train").caption for _ in range(self.size.prompts)]
        store = harvest(self.model, prompts, [SITE], self.out / "store", seed=self.seed, progress=progress)
        return f"{store.rows(SITE)} rows of {store.width(SITE)} channels"

    def train(self, progress: Progress) -> str:
        import saes

        config = saes.SAEConfig(k=16, d_sae=self.size.d_sae, samples=self.size.samples, seed=self.seed, prune=True)
        store = saes.ActivationStore.open(self.out / "store")
        figures = saes.train(store, SITE, config, self.out / "sae", progress=progress).cfg.metadata.metrics
        return (
            f"explained variance {figures['explained_variance']:.3f} with {figures['l0']:.1f} features active at once"
        )

    def find(self, progress: Progress) -> str:
        from probes.feature_table import FeatureTable
        from workbench.features import find_features

        if not (self.own / "features").exists():
            found = find_features(self.model, self.out / "sae", self.concept, progress=progress)
            found.save(self.own / "features")
        own = FeatureTable.load(self.own / "features").contrast(self.concept.name)
        return f"{len(own)} features that nothing else needs, first {', '.join(map(str, own[:5]))}"

    def erase(self, progress: Progress) -> str:
        from workbench.erasure.itd import ItD

        if not (self.own / "edit").exists():
            method = ItD(sae=str(self.out / "sae"))
            method.fit(self.model, [self.concept], seed=self.seed, progress=progress).save(self.own / "edit")
        return ""

    def evaluate(self, progress: Progress) -> str:
        from workbench import toy
        from workbench.edits import ActivationEdit, no_op_like, random_like
        from workbench.evaluation.evaluate import evaluate
        from workbench.evaluation.tables import metrics
        from workbench.reports.reading import reading

        edit = ActivationEdit.read(self.own / "edit")
        conditions: dict[str, Edit | None] = {
            "ItD": edit,
            "no-op": no_op_like(edit),
            "random features": random_like(edit, seed=self.seed),
        }
        suite = toy.suite(self.concept.name, self.size.per_role, self.seed)
        run = evaluate(self.model, conditions, suite, toy.Oracle.load(), self.own / "run", progress=progress)
        return reading(metrics(run), run.spec).answer

    def explain(self, progress: Progress) -> str:
        from workbench import toy
        from workbench.reports.explaining import explain

        judge = toy.Oracle.load()
        explain(self.run, self.model, [self.concept], judge, cards=self.size.cards, progress=progress)
        return ""

    def write(self, progress: Progress) -> str:
        from workbench.reports.report import report

        report(self.run, self.report)
        return ""
