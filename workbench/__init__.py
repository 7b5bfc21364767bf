"""Erasure Workbench: find where a text-to-image model keeps a concept, take it out, and see whether it is really gone.

`import workbench as wb` loads neither torch nor diffusers: each public name is imported when it is first used.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import Any

PUBLIC = {
    "load": "workbench.models",
    "Model": "workbench.models",
    "Site": "workbench.hooks",
    "SiteEdit": "workbench.hooks",
    "AttentionRecorder": "workbench.hooks",
    "harvest": "workbench.activations.harvest",
    "Concept": "workbench.concepts",
    "read_concepts": "workbench.concepts",
    "find_features": "workbench.interpret.find_features",
    "find_neighbours": "workbench.interpret.neighbours",
    "ablation": "workbench.edits.interventions",
    "intervention": "workbench.edits.interventions",
    "word_maps": "workbench.interpret.attribution.words",
    "concept_lens": "workbench.interpret.attribution.lens",
    "feature_effects": "workbench.interpret.attribution.effects",
    "feature_pictures": "workbench.interpret.attribution.pictures",
    "feature_graph": "workbench.interpret.attribution.graph",
    "inside": "workbench.interpret.inside",
    "ActivationEdit": "workbench.edits",
    "WeightEdit": "workbench.edits",
    "load_edit": "workbench.edits",
    "bake": "workbench.edits.bake",
    "unbake": "workbench.edits.bake",
    "purified": "workbench.fitting.inversion",
    "METHODS": "workbench.erasure",
    "find_method": "workbench.erasure",
    "ItD": "workbench.erasure.itd",
    "DetectReplace": "workbench.erasure.detect_replace",
    "ConceptSteerer": "workbench.erasure.steerer",
    "SAeUron": "workbench.erasure.saeuron",
    "UCE": "workbench.erasure.uce",
    "UCEDebias": "workbench.erasure.uce_debias",
    "TRCE": "workbench.erasure.trce",
    "RECE": "workbench.erasure.rece",
    "RealEra": "workbench.erasure.realera",
    "SLD": "workbench.erasure.sld",
    "NegativePrompt": "workbench.erasure.negative_prompt",
    "CoErasing": "workbench.erasure.co_erasing",
    "Suite": "workbench.evaluation.suites",
    "read_suite": "workbench.evaluation.suites",
    "evaluate": "workbench.evaluation.evaluate",
    "evaluate_concepts": "workbench.evaluation.evaluate",
    "rejudge": "workbench.evaluation.judging",
    "measure_drift": "workbench.interpret.drift",
    "decodability": "workbench.interpret.decodability",
    "Comparison": "workbench.comparison.plan",
    "read_comparison": "workbench.comparison.plan",
    "compare": "workbench.comparison.compare",
    "metrics": "workbench.evaluation.tables",
    "Run": "workbench.evaluation.runs",
    "read_study": "workbench.studies.reading",
    "run_study": "workbench.studies.study",
    "Study": "workbench.studies.hypothesis",
    "study_report": "workbench.reports.studying",
    "explain": "workbench.reports.explaining",
    "report": "workbench.reports.report",
    "WorkbenchError": "saes.errors",
}


class _Package(ModuleType):
    """The package as a module. A function may share its name with the file that holds it (`wb.harvest`): the import
    system would put the file in the function's place, so a submodule never takes the place of a public name."""

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package


def __getattr__(name: str) -> Any:
    """Imports the file of a public name on first use (PEP 562)."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(import_module(PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
