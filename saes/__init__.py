"""Tensors to features: activation stores, sparse autoencoders in the sae-lens format, and their metrics.

This package knows tensors, callables and sae-lens; never a pipeline. Importing it loads neither torch nor sae-lens.
"""

from importlib import import_module
from typing import Any

_HOMES = {
    "ActivationStore": "saes.store",
    "FeatureStats": "saes.feature_activity",
    "SAEConfig": "saes.config",
    "SAEMetrics": "saes.metrics",
    "SiteRows": "saes.writing",
    "StoreSpec": "saes.manifest",
    "StoreWriter": "saes.writing",
    "SubstitutionLosses": "saes.metrics",
    "WorkbenchError": "saes.errors",
    "check_width": "saes.files",
    "coactivation": "saes.feature_activity",
    "density_histogram": "saes.metrics",
    "evaluate_sae": "saes.metrics",
    "feature_stats": "saes.feature_activity",
    "load": "saes.files",
    "fires": "saes.pruning",
    "loss_recovered": "saes.metrics",
    "pruned": "saes.pruning",
    "substitution_losses": "saes.metrics",
    "train": "saes.training",
}
__all__ = sorted([*_HOMES, "save"])


def save(sae: Any, sae_dir: Any, metadata: Any) -> None:
    """Writes an SAE as a sae-lens folder: `saes.files.save`.

    It is a function and no lazy name, because nnsight gives every object a `save`, modules too, which would be found
    first.

    Args:
        sae: a sae-lens SAE for inference.
        sae_dir: the folder to write.
        metadata: what is known of the SAE, as JSON.

    Raises:
        WorkbenchError: the folder cannot be written.
    """
    import_module("saes.files").save(sae, sae_dir, metadata)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'saes' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
