"""Erasure methods: one file a paper. Reading the table imports none of them."""

from collections.abc import Iterable

from workbench.conditions import marked
from workbench.plugins import Table

JOINED = " + "  # between the methods of a composed edit, in what it calls its method

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
    "advunlearn": "workbench.erasure.advunlearn:AdvUnlearn",
    "co_erasing": "workbench.erasure.co_erasing:CoErasing",
    "concept_ablation": "workbench.erasure.concept_ablation:ConceptAblation",
    "doco": "workbench.erasure.doco:DoCo",
    "all_but_one": "workbench.erasure.all_but_one:AllButOne",
    "ear": "workbench.erasure.ear:EAR",
    "geom_erasing": "workbench.erasure.geom_erasing:GeomErasing",
}
TABLE = Table("method", "workbench.methods", METHODS)


def methods() -> dict[str, str]:
    """Our methods and those that installed packages add under the entry point group `workbench.methods`."""
    return TABLE.names()


def find_method(name: str) -> type:
    """The class of a method: `find_method("itd")(sae="toy/text.2")`. Raises `WorkbenchError` with the nearest name."""
    return TABLE.find(name)


def named_in(methods: Iterable[str]) -> list[str]:
    """The methods of the table in what edits call their methods: both of "uce + itd", and none in a control."""
    known = TABLE.names()
    return list(dict.fromkeys(part for name in methods for part in name.casefold().split(JOINED) if part in known))


def reconstruction(name: str) -> str:
    """Why a method of the table is not its authors', or "" if it is."""
    return getattr(find_method(name), "reconstructed", "")


def shown(method: str) -> str:
    """What an edit calls its method, with reconstructions marked: "uce + realera (reconstructed)"."""
    parts = method.split(JOINED)
    return JOINED.join(marked(part) if any(map(reconstruction, named_in([part]))) else part for part in parts)
