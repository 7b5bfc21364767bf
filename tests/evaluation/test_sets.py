"""KID against its definition and against sets whose distance is known, and as a table of a run."""

from pathlib import Path

import numpy as np
import pytest
from scipy.linalg import sqrtm

from saes.errors import WorkbenchError
from tests.evaluation.drawn import drawn_run, suite
from tests.evaluation.test_judging import Plain
from workbench.evaluation.judging import judge
from workbench.evaluation.sets import FID, KID, SetMetric, jackknife_error, set_metric


def drawn(n: int, shift: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(shift, 1, (n, 16))


def test_the_kernel_distance_is_that_of_its_definition() -> None:
    """Sums over all pairs, one by one."""
    x, y = drawn(5, 0, 0), drawn(7, 1, 1)

    def k(a: np.ndarray, b: np.ndarray) -> float:
        return (float(a @ b) / 16 + 1) ** 3

    within = [np.mean([k(a[i], a[j]) for i in range(len(a)) for j in range(len(a)) if i != j]) for a in (x, y)]
    across = np.mean([k(a, b) for a in x for b in y])
    assert isinstance(KID(), SetMetric)
    assert KID().value(x, y) == pytest.approx(sum(within) - 2 * across)


def test_the_frechet_distance_is_that_of_its_definition_and_of_known_gaussians() -> None:
    """Against scipy's root of the product, with sets smaller than their width too; and d·(shift² + (1 − s)²)."""
    for n, m in ((40, 30), (9, 6)):
        x, y = drawn(n, 0, 0), 2 * drawn(m, 1, 1)
        first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
        root = np.real(sqrtm(first @ second))
        expected = np.square(x.mean(0) - y.mean(0)).sum() + np.trace(first + second - 2 * root)
        assert FID().value(x, y) == pytest.approx(expected, rel=1e-5) and isinstance(FID(), SetMetric)
    large = FID().value(drawn(40_000, 0, 0), 3 * drawn(40_000, 0, 1) + 2)
    assert large == pytest.approx(16 * (2**2 + (3 - 1) ** 2), rel=0.02)
    assert FID().value(drawn(20, 0, 0), drawn(20, 0, 0)) == pytest.approx(0, abs=1e-9)
    with pytest.raises(WorkbenchError, match="fewer than two pictures"):
        FID().value(drawn(1, 0, 0), drawn(5, 0, 1))


def test_it_is_unbiased_and_grows_with_the_distance() -> None:
    same = [KID().value(drawn(40, 0, 2 * seed), drawn(40, 0, 2 * seed + 1)) for seed in range(200)]
    assert abs(np.mean(same)) < 3 * np.std(same) / np.sqrt(len(same)) and min(same) < 0
    near, far = (KID().value(drawn(40, 0, 0), drawn(40, shift, 1)) for shift in (0.5, 1.0))
    assert 0 < near < far


def test_a_run_has_a_distance_for_each_condition(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"same": lambda row: row.expected, "all blue": lambda row: "blue"}, suite(n=8))
    table = set_metric(run, KID()).set_index("condition")
    assert list(table.index) == ["same", "all blue"] and set(table["metric"]) == {"kid"}
    assert table.loc["same", "value"] < 0, "the very same pictures: what is unbiased must fall below 0 somewhere"
    assert table.loc["all blue", "low"] > 0
    assert table.loc["same", ["n", "prompts"]].tolist() == [48, 24]  # neighbours and unrelated, two seeds each


def test_the_interval_covers_the_true_distance() -> None:
    """0 between draws of one distribution, by leaving out one of 20 prompts of two pictures each."""
    prompts, covered = np.repeat(np.arange(20), 2), []
    for seed in range(100):
        x, y = drawn(40, 0, 2 * seed), drawn(40, 0, 2 * seed + 1)
        left_out = [KID().value(x[prompts != q], y[prompts != q]) for q in range(20)]
        covered.append(abs(KID().value(x, y)) < 1.96 * jackknife_error(left_out))
    assert 0.85 < np.mean(covered) <= 1


def test_without_features_or_prompts_there_is_none(tmp_path: Path) -> None:
    run = drawn_run(tmp_path / "run", {"same": lambda row: row.expected})
    judge(run, Plain(name="plain"))
    with pytest.raises(WorkbenchError, match="The judge plain has no features"):
        set_metric(run, KID(), "plain")
    with pytest.raises(WorkbenchError, match="fewer than two pictures"):
        KID().value(drawn(1, 0, 0), drawn(5, 0, 1))
