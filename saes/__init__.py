"""Tensors to features: activation stores, sparse autoencoders in the sae-lens format, and their metrics.

This package knows tensors, callables and sae-lens; never a pipeline. Importing it loads neither torch nor sae-lens.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ActivationStore": "saes.store",
    "SiteRows": "saes.writing",
    "StoreSpec": "saes.manifest",
    "StoreWriter": "saes.writing",
    "WorkbenchError": "saes.errors",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'saes' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
