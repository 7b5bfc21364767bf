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
    from saes.names import FeatureName
    from workbench.comparison.jobs import Conditions
    from workbench.concepts import Concept
    from workbench.evaluation.judges import Judge
    from workbench.evaluation.runs import Run
    from workbench.evaluation.suites import Suite
    from workbench.models import Model

SITE = "text.2"
NAMED = 800  # captions on which features are tried as detectors
ATTACKED = "UCE"  # whose edit is attacked
PICTURE_SAE = "toy/unet.up.0.0"  # whose features are followed beside those that the demo trains
STEPS = 10  # of sampling, as in workbench/toy/comparison.yaml: benchmarks/fewer_steps.py says what they change


class Step(NamedTuple):
    """One step: the line printed before it, and the function that runs it and returns the line printed after it."""

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
    attacked: int  # prompts


FULL = Size(prompts=3000, samples=300_000, d_sae=1024, per_role=20, cards=4, attacked=4)
QUICK = Size(600, 100_000, d_sae=1024, per_role=2, cards=1, attacked=1)  # shows that everything runs, no more


@dataclass(frozen=True)
class Demo:
    """A demo in the folder `out` about one concept of the toy."""

    out: Path
    concept_name: str = "fox"
    size: Size = FULL
    seed: int = 0
    judge_name: str = "toy"

    def steps(self) -> Iterator[Step]:
        """All steps in order, to be done one after the other. Raises `WorkbenchError` for an unknown concept."""
        name = self.concept.name
        yield Step(f"Reading the activations of {self.size.prompts} prompts at {SITE}", self.harvest)
        yield Step(f"Training a sparse autoencoder with {self.size.d_sae} features on them", self.train)
        yield Step(f"Finding the features of “{name}”, and what they are called", self.find)
        yield Step(f"Erasing “{name}” in three ways: ItD with these features, UCE and RECE in closed form", self.erase)
        yield Step(
            f"Attacking {ATTACKED}: other words for “{name}”, and starts from noised pictures of it", self.attack
        )
        yield Step("Evaluating the edits beside the unedited model and controls", self.evaluate)
        yield Step("Looking inside: what features do, where pictures attend, what the edits change where", self.explain)
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

    @cached_property
    def judge(self) -> "Judge":
        from workbench.judges import find_judge

        return find_judge(self.judge_name)

    @property
    def own(self) -> Path:
        """The folder of what is about this concept."""
        return self.out / self.concept.name.replace(" ", "-")

    @property
    def run(self) -> "Run":
        """The evaluation, once it has begun."""
        from workbench.evaluation.runs import Run

        return Run.open(self.own / "run")

    def harvest(self, progress: Progress) -> str:
        import numpy as np

        from workbench.activations.harvest import harvest
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
        from workbench.interpret.find_features import find_features

        if not (self.own / "features").exists():
            found = find_features(self.model, self.out / "sae", self.concept, progress=progress)
            found.save(self.own / "features")
        own = FeatureTable.load(self.own / "features").contrast(self.concept.name)
        names = self._names(progress)
        first = ", ".join(
            f"{feature} “{names[feature].name}”" if feature in names else f"{feature}" for feature in own[:4]
        )
        return f"{len(own)} features that nothing else needs, first {first}"

    def _names(self, progress: Progress) -> "dict[int, FeatureName]":
        """What the features detect; given once, and kept in the folder of the autoencoder."""
        from saes.names import NAMES, read_names, write_names
        from workbench.activations.autoencoders import open_sae
        from workbench.interpret.naming import feature_names, name_sae
        from workbench.toy.checks import captioned_factors

        if not (self.out / "sae" / NAMES).exists():
            prompts, known = captioned_factors(NAMED, self.seed)
            table = name_sae(self.model, open_sae(self.out / "sae"), prompts, known, seed=self.seed, progress=progress)
            write_names(self.out / "sae", feature_names(table))
        return read_names(self.out / "sae")

    def erase(self, progress: Progress) -> str:
        from workbench.comparison.fits import fit_seconds

        conditions = self._trial(progress)[1]
        seconds = fit_seconds(self.own / "run").values()
        return f"{len(seconds)} edits, fitted in {sum(seconds):.1f} s; with controls: {', '.join(conditions)}"

    def attack(self, progress: Progress) -> str:
        from workbench.attacks.attempts import read_attempts

        self._attacked(progress)
        found = read_attempts(self.own / "run").query(f"condition == {ATTACKED!r} and control == ''")
        known = sum(found["already"]) // found["attack"].nunique()
        counts = [f"{name} {own['success'].sum()}" for name, own in found.groupby("attack", sort=False)]
        return f"of {self.size.attacked} prompts {known} show it without an attack; after {', '.join(counts)}"

    def evaluate(self, progress: Progress) -> str:
        from workbench.conditions import UNEDITED
        from workbench.evaluation.differences import best_methods
        from workbench.evaluation.evaluate import evaluate
        from workbench.evaluation.results import Results
        from workbench.evaluation.tables import metrics
        from workbench.reports.attacking import without_attacks
        from workbench.reports.comparing import ranking

        suite, conditions = self._attacked(progress), {UNEDITED: None, **self._trial(progress)[1]}
        run = evaluate(self.model, conditions, suite, self.judge, self.own / "run", progress=progress, steps=STEPS)
        results = without_attacks(Results.of(run, run.name_of(self.judge)))
        return " ".join(ranking(metrics(results), best_methods(results)))

    def _trial(self, progress: Progress) -> "tuple[Suite, Conditions]":
        """The suite and the edits, fitted once: three methods, and as controls one that does nothing and, for each
        method, one of its size at random."""
        from workbench import toy
        from workbench.comparison.compare import fit_all
        from workbench.comparison.plan import Comparison
        from workbench.comparison.subjects import Subject
        from workbench.erasure.itd import ItD
        from workbench.erasure.method import Method
        from workbench.erasure.rece import RECE
        from workbench.erasure.uce import UCE

        suite = toy.suite(self.concept.name, self.size.per_role, self.seed)
        methods: dict[str, Method] = {"ItD": ItD(sae=str(self.out / "sae")), "UCE": UCE(), "RECE": RECE()}
        comparison = Comparison(methods=methods, subjects=[Subject(self.concept, suite)], seed=self.seed)
        (trial,) = fit_all(self.model, comparison, self.own / "run", progress=progress)
        return trial

    def _attacked(self, progress: Progress) -> "Suite":
        """The suite with the rows of two cheap attacks on one edit, and of as many new seeds."""
        from workbench.attacks import attack_of
        from workbench.attacks.attack import Budget
        from workbench.attacks.searching import search
        from workbench.attacks.target import Target

        suite, conditions = self._trial(progress)
        told: dict[str, dict[str, object]] = {"replay": {}, "noised": {"starts": (0.8, 0.7)}}
        attacks = {name: attack_of(name, self.concept, settings) for name, settings in told.items()}
        target = Target(suite, {ATTACKED: conditions[ATTACKED]}, attacks, most=self.size.attacked)
        ((attacked, _),) = search(
            self.model,
            [target],
            self.judge,
            self.own / "run",
            budget=Budget(images=2),
            floor=0.0,
            progress=progress,
            steps=STEPS,
        )  # of so few prompts, chance alone may show none: the evaluation has the floor
        return attacked

    def explain(self, progress: Progress) -> str:
        from workbench.reports.explaining import explain

        cards, saes = self.size.cards, [PICTURE_SAE]
        explain(self.run, self.model, [self.concept], self.judge, cards=cards, saes=saes, progress=progress)
        return ""

    def write(self, progress: Progress) -> str:
        from workbench.reports.report import report

        report(self.run, self.report, judge=self.run.name_of(self.judge))
        return ""
