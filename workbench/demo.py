"""The whole story on the embedded world, in named steps that are skipped where their result exists already.

Activations and the autoencoder are shared by all concepts of a folder; the rest lies in a folder a concept. Each step
leaves something whole or goes on where it was interrupted, so running a demo again finishes it.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from saes.errors import unknown_name
from saes.progress import SILENT, Progress

if TYPE_CHECKING:
    from workbench.concepts import Concept
    from workbench.edits import Edit
    from workbench.models import Model
    from workbench.runs import Run

SITE = "text.2"
STEPS = {  # the method of `Demo` → what is said before it runs
    "harvest": f"Reading the activations of {{prompts}} prompts at {SITE}",
    "train": "Training a sparse autoencoder with {d_sae} features on them",
    "find": "Finding the features of “{concept}”",
    "erase": "Erasing “{concept}” with Interpret-then-Deactivate (ItD)",
    "evaluate": "Evaluating the edit beside the unedited model and two controls",
    "explain": "Collecting what the features do and where the pictures attend",
    "report": "Writing the report",
}


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    prompts: int
    samples: int
    d_sae: int
    per_role: int
    cards: int


FULL = Size(prompts=3000, samples=600_000, d_sae=2048, per_role=16, cards=4)
QUICK = Size(prompts=400, samples=60_000, d_sae=512, per_role=2, cards=1)  # shows that everything runs, no more


@dataclass(frozen=True)
class Demo:
    """A demo in the folder `out` about one concept of the toy; `run` does what is not done yet."""

    out: Path
    concept_name: str = "fox"
    size: Size = FULL
    progress: Progress = SILENT
    say: Callable[[str], None] = lambda line: None
    seed: int = 0

    def run(self) -> Path:
        """All steps in order. Returns the path of the report. Raises `WorkbenchError` for an unknown concept."""
        about = {**vars(self.size), "concept": self.concept.name}
        for number, (step, words) in enumerate(STEPS.items(), 1):
            self.say(f"[{number}/{len(STEPS)}] {words.format(**about)}")
            getattr(self, step)()
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

    def harvest(self) -> None:
        import numpy as np

        from workbench.harvest import harvest
        from workbench.toy import captions

        rng = np.random.default_rng(self.seed)
        prompts = [captions.sample(rng, "train").caption for _ in range(self.size.prompts)]
        harvest(self.model, prompts, [SITE], self.out / "store", seed=self.seed, progress=self.progress)

    def train(self) -> None:
        import saes

        config = saes.SAEConfig(k=16, d_sae=self.size.d_sae, samples=self.size.samples, seed=self.seed)
        store = saes.ActivationStore.open(self.out / "store")
        figures = saes.train(store, SITE, config, self.out / "sae", progress=self.progress).cfg.metadata.metrics
        self.say(f"      explained variance {figures['explained_variance']:.3f} at L0 {figures['l0']:.1f}")

    def find(self) -> None:
        from workbench.features import find_features

        if not (self.own / "features").exists():
            found = find_features(self.model, self.out / "sae", self.concept, progress=self.progress)
            found.save(self.own / "features")

    def erase(self) -> None:
        from workbench.erasure.itd import ItD

        if not (self.own / "edit").exists():
            method = ItD(sae=str(self.out / "sae"))
            method.fit(self.model, [self.concept], seed=self.seed, progress=self.progress).save(self.own / "edit")

    def evaluate(self) -> None:
        from workbench import toy
        from workbench.edits import ActivationEdit, no_op_like, random_features_like
        from workbench.evaluation.evaluate import evaluate

        edit = ActivationEdit.read(self.own / "edit")
        conditions: dict[str, Edit | None] = {
            "ItD": edit,
            "no-op": no_op_like(edit),
            "random features": random_features_like(edit, seed=self.seed),
        }
        suite = toy.suite(self.concept.name, self.size.per_role, self.seed)
        evaluate(self.model, conditions, suite, toy.Oracle.load(), self.own / "run", progress=self.progress)

    def explain(self) -> None:
        from workbench import toy
        from workbench.reports.explaining import explain

        judge = toy.Oracle.load()
        explain(self.evaluated(), self.model, [self.concept], judge, cards=self.size.cards, progress=self.progress)

    def report(self) -> None:
        from workbench.reports.report import report

        report(self.evaluated(), self.out / "report.html")

    def evaluated(self) -> "Run":
        from workbench.runs import Run

        return Run.open(self.own / "run")
