"""Feature scores against hand-derived numbers and a second, slower way to compute them."""

import pytest
import torch
from scipy.stats import mannwhitneyu
from torch.testing import assert_close

from probes.features import (
    Causal,
    PromptScores,
    causal_scores,
    contrast,
    feature_table,
    prompt_scores,
    selectivity_auc,
    top_features,
)
from saes.dictionary import Code


def sparse_scores(prompts: int, features: int, seed: int) -> torch.Tensor:
    """Non-negative scores with many zeros and many ties, as a top-k dictionary gives them."""
    draw = torch.Generator().manual_seed(seed)
    return (torch.randint(-6, 7, (prompts, features), generator=draw).clamp(min=0) / 2).double()


def test_the_score_of_a_prompt_is_the_maximum_over_its_content_tokens_alone():
    loud = [[9.0, 9.0], [9.0, 9.0]]  # the begin token and the padding
    values = torch.tensor([[loud[0], [1.0, 0.5], [2.0, 0.0], loud[1]]])
    indices = torch.tensor([[[0, 1], [0, 1], [0, 3], [2, 3]]])
    content = torch.tensor([[False, True, True, False]])
    assert_close(prompt_scores(Code(values, indices), content, 4), torch.tensor([[2.0, 0.5, 0.0, 0.0]]))


def test_features_that_do_not_fire_are_never_among_the_strongest():
    scores = torch.tensor([[0.0, 3.0, 0.0, 1.0], [0.0, 0.0, 0.0, 0.0]])
    assert top_features(scores, m=3).tolist() == [[False, True, False, True], [False] * 4]
    assert top_features(scores, m=1).tolist() == [[False, True, False, False], [False] * 4]
    assert top_features(scores, m=99).tolist() == [[False, True, False, True], [False] * 4]


def test_the_contrast_takes_the_union_of_targets_without_the_union_of_retained():
    target = torch.tensor([[5.0, 4.0, 0.1, 0.0, 0.0], [0.0, 4.0, 0.0, 3.0, 0.0]])
    retain = torch.tensor([[0.0, 2.0, 0.0, 0.0, 1.0]])
    assert contrast(target, retain, m=2).tolist() == [0, 3]  # 1 is retained, 2 is third on its only prompt
    assert contrast(target, retain, m=3).tolist() == [0, 2, 3]


@pytest.mark.parametrize("m", [1, 4, 40])
def test_no_feature_of_the_contrast_is_among_the_strongest_of_a_retained_prompt(m):
    target, retain = sparse_scores(6, 30, 0), sparse_scores(9, 30, 1)
    found = contrast(target, retain, m)
    assert not top_features(retain, m)[:, found].any()
    by_hand = set()
    for row in target:
        by_hand |= {int(f) for f in row.topk(min(m, 30)).indices if row[f] > 0}
    for row in retain:
        by_hand -= {int(f) for f in row.topk(min(m, 30)).indices if row[f] > 0}
    assert found.tolist() == sorted(by_hand)


def test_the_contrast_of_a_union_is_the_union_of_contrasts_and_ignores_order():
    first, second, retain = sparse_scores(4, 40, 2), sparse_scores(5, 40, 3), sparse_scores(6, 40, 4)
    together = contrast(torch.cat([first, second]), retain, 5)
    apart = set(contrast(first, retain, 5).tolist()) | set(contrast(second, retain, 5).tolist())
    assert set(together.tolist()) == apart
    assert 0 < len(apart) < 40
    shuffled = torch.cat([second, first])[torch.randperm(9, generator=torch.Generator().manual_seed(0))]
    assert contrast(shuffled, retain.flip(0), 5).tolist() == together.tolist()


def test_the_auc_equals_the_mann_whitney_statistic_of_each_feature():
    target, retain = sparse_scores(7, 12, 5), sparse_scores(11, 12, 6)
    expected = [mannwhitneyu(target[:, f], retain[:, f]).statistic / (7 * 11) for f in range(12)]
    assert_close(selectivity_auc(target, retain), torch.tensor(expected, dtype=torch.float64))


def test_the_auc_is_one_for_a_perfect_feature_and_one_half_for_a_constant():
    target = torch.tensor([[2.0, 1.0, 0.0], [3.0, 1.0, 0.0]])
    retain = torch.tensor([[0.0, 1.0, 4.0], [1.0, 1.0, 4.0]])
    assert_close(selectivity_auc(target, retain), torch.tensor([1.0, 0.5, 0.0]))


def test_the_causal_score_is_what_the_model_loses_without_the_feature():
    weights = {3: 0.25, 5: 0.5, 7: 0.0}
    runs = []

    def score(ablated):
        runs.append(tuple(ablated))
        return sum(weight for feature, weight in weights.items() if feature not in ablated)

    assert causal_scores(score, [5, 3, 7]) == {5: 0.5, 3: 0.25, 7: 0.0}
    assert runs == [(), (5,), (3,), (7,)]


def test_the_table_holds_a_row_for_each_concept_and_firing_feature_best_first():
    target = torch.tensor([[0.0, 2.0, 4.0, 1.0], [0.0, 2.0, 6.0, 0.0]])
    retain = torch.tensor([[3.0, 2.0, 0.0, 0.0], [3.0, 2.0, 0.0, 0.0]])
    table = feature_table({"fox": PromptScores(target, retain), "cat": PromptScores(retain, target)}, m=2)
    fox = table.of("fox")
    assert fox.feature.tolist() == [2, 3, 1]  # 0 never fires on a fox prompt
    assert fox.auc.tolist() == [1.0, 0.75, 0.5]
    assert fox.target_mean.tolist() == [5.0, 0.5, 2.0]
    assert fox.target_share.tolist() == [1.0, 0.5, 1.0]
    assert fox.retain_share.tolist() == [0.0, 0.0, 1.0]
    assert table.contrast("fox") == [2]  # 3 is third on its only prompt
    assert table.contrast("cat") == [0]
    assert fox.effect.isna().all()


def test_only_the_most_selective_features_of_a_concept_are_ablated():
    scores = PromptScores(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([[0.0, 2.0, 9.0]]))
    causal = Causal(score=lambda features: 1.0 - 0.25 * len(features), top=2)
    table = feature_table({"fox": scores}, m=3, causal={"fox": causal})
    assert table.of("fox").feature.tolist() == [0, 1, 2]
    assert table.of("fox").effect.tolist()[:2] == [0.25, 0.25]
    assert table.of("fox").effect.isna().tolist() == [False, False, True]
