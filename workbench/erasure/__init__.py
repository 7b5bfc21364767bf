"""Erasure methods: one file a paper. Reading the table imports none of them."""

from importlib import import_module
from importlib.metadata import entry_points

from saes.errors import WorkbenchError, unknown_name

METHODS = {  # name (that of the file) → "module:Class"
    "itd": "workbench.erasure.itd:ItD",
    "detect_replace": "workbench.erasure.detect_replace:DetectReplace",
    "steerer": "workbench.erasure.steerer:ConceptSteerer",
    "saeuron": "workbench.erasure.saeuron:SAeUron",
    "uce": "workbench.erasure.uce:UCE",
    "uce_debias": "workbench.erasure.uce_debias:UCEDebias",
    "rece": "workbench.erasure.rece:RECE",
    "trce": "workbench.erasure.trce:TRCE",
    "realera": "workbench.erasure.realera:RealEra",
    "sld": "workbench.erasure.sld:SLD",
    "negative_prompt": "workbench.erasure.negative_prompt:NegativePrompt",
    "spm": "workbench.erasure.spm:SPM",
    "esd": "workbench.erasure.esd:ESD",
    "few_shot": "workbench.erasure.few_shot:FewShot",
    "co_erasing": "workbench.erasure.co_erasing:CoErasing",
    "concept_ablation": "workbench.erasure.concept_ablation:ConceptAblation",
    "all_but_one": "workbench.erasure.all_but_one:AllButOne",
}
ENTRY_POINTS = "workbench.methods"


def methods() -> dict[str, str]:
    """Our methods and those that installed packages add under the entry point group `workbench.methods`."""
    return {**{point.name: point.value for point in entry_points(group=ENTRY_POINTS)}, **METHODS}


def find_method(name: str) -> type:
    """The class of a method: `find_method("itd")(sae="toy/text.2")`. Raises `WorkbenchError` with the nearest name."""
    known = methods()
    if name not in known:
        raise unknown_name("method", name, known)
    module, _, class_name = known[name].partition(":")
    try:
        return getattr(import_module(module), class_name)
    except (ImportError, AttributeError) as error:
        raise WorkbenchError(
            f"The method {name!r} cannot be imported ({error}).", "Install its package again."
        ) from error
