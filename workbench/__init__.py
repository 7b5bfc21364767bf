"""Erasure Workbench: find where a text-to-image model keeps a concept, take it out, and see whether it is really gone.

`import workbench as wb` loads neither torch nor diffusers: each public name is imported when it is first used.
"""

from importlib import import_module
from typing import Any

from workbench.erasure import METHODS as _METHODS

PUBLIC = {  # name → the file that has it
    "load": "workbench.models",
    "Model": "workbench.models",
    "Diffusion": "workbench.models",
    "Janus": "workbench.models",
    "generate_into": "workbench.picture_folder",
    "Begun": "workbench.models",
    "Continued": "workbench.models",
    "TokenIds": "workbench.models",
    "TokenEmbeddings": "workbench.models",
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
    "word_effects": "workbench.interpret.attribution.cells",
    "concept_lens": "workbench.interpret.attribution.lens",
    "logit_lens": "workbench.interpret.attribution.logit_lens",
    "feature_effects": "workbench.interpret.attribution.effects",
    "fidelity": "workbench.activations.fidelity",
    "feature_pictures": "workbench.interpret.attribution.pictures",
    "features_agree": "workbench.interpret.cross_model",
    "feature_graph": "workbench.interpret.attribution.graph",
    "cell_effects": "workbench.interpret.attribution.feature_cells",
    "inside": "workbench.interpret.inside",
    "Edit": "workbench.edits",
    "EditFields": "workbench.edits",
    "ActivationEdit": "workbench.edits",
    "ActivationProgram": "workbench.edits",
    "AdapterEdit": "workbench.edits",
    "ComposedEdit": "workbench.edits",
    "GuidanceEdit": "workbench.edits",
    "GuidanceRule": "workbench.edits",
    "PromptEdit": "workbench.edits",
    "TokenEdit": "workbench.edits",
    "WeightEdit": "workbench.edits",
    "load_edit": "workbench.edits",
    "combined": "workbench.edits",
    "transferred": "workbench.edits",
    "to_lora": "workbench.edits.exporting",
    "to_webui": "workbench.edits.exporting",
    "to_text_encoder": "workbench.edits.exporting",
    "import_edit": "workbench.edits.importing",
    "bake": "workbench.edits.bake",
    "unbake": "workbench.edits.bake",
    "purified": "workbench.fitting.inversion",
    "ATTACKS": "workbench.attacks",
    "find_attack": "workbench.attacks",
    "run_attacks": "workbench.attacks.running",
    "attack_table": "workbench.attacks.tables",
    "adversarial_suite": "workbench.attacks.adversarial",
    "Budget": "workbench.attacks.attack",
    "Attempt": "workbench.attacks.attack",
    "AttackMethod": "workbench.attacks.attack",
    "METHODS": "workbench.erasure",
    "find_method": "workbench.erasure",
    "Method": "workbench.erasure.method",
    "ErasureMethod": "workbench.erasure.method",
    "Supports": "workbench.erasure.method",
    "Reference": "workbench.papers",
    **{kind: module for module, _, kind in (home.partition(":") for home in _METHODS.values())},
    "Suite": "workbench.evaluation.suites",
    "SuiteRow": "workbench.evaluation.suites",
    "Judge": "workbench.evaluation.judges",
    "read_suite": "workbench.evaluation.suites",
    "write_suite": "workbench.evaluation.suites",
    "evaluate": "workbench.evaluation.evaluate",
    "evaluate_concepts": "workbench.evaluation.evaluate",
    "judge": "workbench.evaluation.judging",
    "DETECTORS": "workbench.detectors",
    "find_detector": "workbench.detectors",
    "JUDGES": "workbench.judges",
    "find_judge": "workbench.judges",
    "visually_filtered": "workbench.evaluation.visual_filter",
    "prompt_pairs": "workbench.fitting.prompt_pairs",
    "read_pairs": "workbench.fitting.prompt_pairs",
    "set_metric": "workbench.evaluation.sets",
    "KID": "workbench.evaluation.sets",
    "FID": "workbench.evaluation.sets",
    "implicit_ratios": "workbench.evaluation.implicit",
    "measure_drift": "workbench.interpret.drift",
    "site_necessity": "workbench.interpret.necessity",
    "decodability": "workbench.interpret.decodability",
    "Comparison": "workbench.comparison.plan",
    "Subject": "workbench.comparison.subjects",
    "read_comparison": "workbench.comparison.plan",
    "compare": "workbench.comparison.compare",
    "metrics": "workbench.evaluation.tables",
    "Run": "workbench.evaluation.runs",
    "trace_tokens": "workbench.studies.token_tracing",
    "drawn_trace": "workbench.studies.drawn_tracing",
    "read_study": "workbench.studies.reading",
    "run_study": "workbench.studies.study",
    "Study": "workbench.studies.hypothesis",
    "study_report": "workbench.reports.studying",
    "explain": "workbench.reports.explaining",
    "report": "workbench.reports.report",
    "WorkbenchError": "saes.errors",
}


def __getattr__(name: str) -> Any:
    """Imports the file of a public name on first use (PEP 562)."""
    if name not in PUBLIC:
        raise AttributeError(f"module 'workbench' has no attribute {name!r}")
    value = getattr(import_module(PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *PUBLIC})
