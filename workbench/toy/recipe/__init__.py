"""How the embedded model was made: `workbench toy train` from rendered pictures to shipped weights."""

from workbench.toy.recipe.stages import STAGES, train

__all__ = ["STAGES", "train"]
