"""Erasure methods: one file a paper. Reading the table imports none of them."""

from workbench.plugins import Table

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
TABLE = Table("method", "workbench.methods", METHODS)


def methods() -> dict[str, str]:
    """Our methods and those that installed packages add under the entry point group `workbench.methods`."""
    return TABLE.names()


def find_method(name: str) -> type:
    """The class of a method: `find_method("itd")(sae="toy/text.2")`. Raises `WorkbenchError` with the nearest name."""
    return TABLE.find(name)
