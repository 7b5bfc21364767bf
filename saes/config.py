"""What a training run is asked to do: strict, so that a misspelt key is an error that names the nearest one."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, ValidationError, model_validator

from saes.errors import check_keys
from saes.settings import does_not_fit

Seed = Annotated[int, Field(ge=0, lt=2**63)]
Architecture = Literal["topk", "batchtopk", "matryoshka_batchtopk", "jumprelu", "standard", "gated"]


class StrictConfig(BaseModel):
    """The base of all configurations: frozen, without unknown keys, with finite numbers only.

    Raises:
        WorkbenchError: an unknown key, a missing one, or a value of another type or out of range.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    def __init__(self, **values: Any) -> None:
        check_keys(values, type(self).model_fields)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise does_not_fit(error) from None

    __init__.__pydantic_base_init__ = True  # type: ignore[attr-defined]  # pydantic validates what is nested by itself


class SAEConfig(StrictConfig):
    """Training of one sparse autoencoder. A step sees `batch_size` rows; there are `samples // batch_size` steps.

    Inputs are scaled to unit variance, so that `sparsity` and `lr` mean the same at every site. A `sparsity` of 1.0
    brings jumprelu near L0 = k; for standard and gated, choose it by the L0 that `metrics.jsonl` shows.

    Raises:
        WorkbenchError: a setting is unknown, missing or out of range, or two of them contradict each other.
    """

    architecture: Architecture = "topk"
    d_sae: int = Field(gt=0, le=2**24, description="number of latents")
    k: int = Field(32, gt=0, description="active latents a row: topk exactly, batchtopk on average, jumprelu aimed at")
    sparsity: float = Field(1.0, ge=0, description="weight of the penalty of jumprelu, standard and gated")
    matryoshka_widths: tuple[PositiveInt, ...] = Field(
        (), description="growing, up to d_sae; default: a 16th, a quarter, all"
    )
    samples: int = Field(gt=0, le=10**12, description="rows seen in training, repeats included")
    batch_size: int = Field(1024, gt=0, le=2**20, description="rows a step")
    lr: float = Field(1e-3, gt=0, le=1, description="learning rate of Adam, on rows of unit variance")
    warm_up: float = Field(0.05, ge=0, le=0.5, description="share of the run in which lr and penalty rise from zero")
    decay: float = Field(0.2, ge=0, le=0.5, description="share of the run, at its end, in which lr falls to zero")
    dead_window: int | None = Field(None, gt=0, description="steps without firing until a latent counts as dead")
    prune: bool = Field(False, description="at the end, take latents away that fire on no row of the training split")
    seed: Seed = Field(0, description="seed of the first weights")
    order: Seed | None = Field(None, description="seed of the order of rows; `seed` if left out")

    @model_validator(mode="after")
    def _fits(self) -> "SAEConfig":
        if self.samples < self.batch_size:
            raise ValueError("samples must be at least batch_size")
        if self.k > self.d_sae:
            raise ValueError("k must not exceed d_sae")
        if list(self.widths) != sorted(set(self.widths)) or self.widths[-1] != self.d_sae:
            raise ValueError("matryoshka_widths must grow and end at d_sae")
        return self

    @property
    def steps(self) -> int:
        """Number of steps of the optimiser."""
        return self.samples // self.batch_size

    @property
    def order_seed(self) -> int:
        """The seed of the order of rows. SAEs that share it, and the batch size, can learn from one reading."""
        return self.seed if self.order is None else self.order

    @property
    def widths(self) -> tuple[int, ...]:
        """The nested widths of a Matryoshka SAE, the last of them `d_sae`."""
        return self.matryoshka_widths or tuple(sorted({max(1, self.d_sae // 16), max(1, self.d_sae // 4), self.d_sae}))

    @property
    def window(self) -> int:
        """`dead_window`, or a twentieth of the run, 10 to 1000 steps.

        sae-lens waits 1000 *steps* whatever the run: a short run would end before its auxiliary loss ever began.
        """
        return self.dead_window or min(1000, max(10, self.steps // 20))
