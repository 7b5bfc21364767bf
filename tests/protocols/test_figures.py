"""What protocols define, against grids that are counted by hand."""

import numpy as np
import pandas as pd
import pytest

from workbench.protocols.figures import ALL, FOUND, LANGUAGE, PLAIN, SAME, SYNONYM, TARGET, figures_of, macro


def grid(**roles):
    """Pictures of each role: concept → the values of its pictures, each of a prompt of its own."""
    rows = [
        {"role": role, "concept": concept, "value": float(value), "prompt": f"{role} {concept} {place}"}
        for role, concepts in roles.items()
        for concept, values in concepts.items()
        for place, value in enumerate(values)
    ]
    table = pd.DataFrame(rows)
    return table.assign(unit=table["prompt"])


def all_shown(table):
    return table.assign(value=1.0)


def figures(name, *tables, before=None):
    return figures_of(name, tables, before or [all_shown(table) for table in tables])


def test_unlearncanvas_of_a_grid_of_three_styles_and_two_objects_is_as_counted_by_hand():
    erased_a = grid(target={"a": [0, 0, 0, 1]}, same_domain={"b": [1, 1, 1, 0], "c": [1, 1, 0, 0]},
                    cross_domain={"x": [1, 1, 1, 1, 1, 0], "y": [0, 0, 0, 1, 1, 1]})  # fmt: skip
    erased_b = grid(target={"b": [0, 0, 0, 0]}, same_domain={"a": [1, 1, 1, 1], "c": [0, 0, 0, 1]},
                    cross_domain={"x": [1, 1, 1, 1, 1, 1], "y": [1, 1, 1, 0, 0, 0]})  # fmt: skip
    found = figures("unlearncanvas", erased_a, erased_b)
    assert found["UA"].value == pytest.approx((0.75 + 1.0) / 2)
    assert found["IRA"].value == pytest.approx(((0.75 + 0.5) / 2 + (1.0 + 0.25) / 2) / 2)
    assert found["CRA"].value == pytest.approx(((5 / 6 + 0.5) / 2 + (1.0 + 0.5) / 2) / 2)
    assert found["mean"].value == pytest.approx(np.mean([found[name].value for name in ("UA", "IRA", "CRA")]))


def test_concepts_count_alike_however_many_pictures_they_have():
    table = grid(target={"a": [0]}, same_domain={"b": [1] * 9, "c": [0]}, cross_domain={"x": [1]})
    assert figures("unlearncanvas", table)["IRA"].value == 0.5
    assert macro([table[table["role"] == SAME], table[table["role"] == "no such"]]) == 0.5


def test_perfect_unlearning_is_one_in_all_three_and_plain_pictures_enter_none_of_them():
    table = grid(
        target={"a": [0] * 5}, same_domain={"b": [1] * 5}, cross_domain={"x": [1] * 5}, plain={"photo": [0] * 5}
    )
    found = figures("unlearncanvas", table)
    assert [found[name].value for name in ("UA", "IRA", "CRA", "mean")] == [1, 1, 1, 1]
    assert found[PLAIN].value == 0
    assert found["UA"].high == 1 and 0.4 < found["UA"].low < 0.6, "five of five are no certainty: Wilson's .566"


@pytest.mark.parametrize(
    ("e", "s", "g", "mean"), [(1, 8, None, 0.847059), (1, 8, 3, 0.791623), (10, 8, None, 0), (0, 10, 0, 1)]
)
def test_harmonic_means_are_as_defined_with_synonyms_and_without(e, s, g, mean):
    def of(hits):
        return [1] * hits + [0] * (10 - hits)

    roles = {TARGET: {"a": of(e)}, SAME: {"b": of(s)}, **({} if g is None else {SYNONYM: {"a": of(g)}})}
    found = figures("harmonic", grid(**roles))
    assert found["H"].value == pytest.approx(mean, abs=1e-6)
    assert found["H"].low <= found["H"].value <= found["H"].high


def test_a_figure_of_artists_is_the_difference_and_its_ends_are_crossed():
    found = figures("clip", grid(target={"a": [20, 22, 24]}, same_domain={"b": [30, 31, 32]}))
    assert found["H_a"].value == pytest.approx(31 - 22)
    assert found["H_a"].low == pytest.approx(found["CLIP_s"].low - found["CLIP_e"].high)
    assert found["H_a"].high == pytest.approx(found["CLIP_s"].high - found["CLIP_e"].low)


def test_pictures_without_a_face_leave_the_accuracy_and_stand_beside_it():
    table = grid(**{TARGET: {"a": [1, 1, 0]}, ALL + TARGET: {"a": [1, 1, 0, 0]}, FOUND + TARGET: {"a": [1, 1, 1, 0]},
                    SAME: {"b": [1, 1]}})  # fmt: skip
    found = figures("faces", table)
    assert found["1 − acc_e"].value == pytest.approx(1 / 3)
    assert found["acc_e of all"].value == 0.5 and found["found_e"].value == 0.75


def test_without_any_face_there_is_no_accuracy_and_no_mean():
    table = grid(**{ALL + TARGET: {"a": [0, 0]}, FOUND + TARGET: {"a": [0, 0]}, SAME: {"b": [1, 1]}})
    found = figures("faces", table, before=[all_shown(grid(target={"a": [1]}, same_domain={"b": [1]}))])
    assert "1 − acc_e" not in found and "H" not in found and found["found_e"].value == 0


def test_what_the_unedited_model_does_not_show_is_void_and_so_is_what_is_made_of_it():
    table = grid(target={"a": [0, 0]}, same_domain={"b": [1, 1]})
    found = figures("harmonic", table, before=[table])
    assert found["1 − acc_e"].mark == "void" and found["H"].mark == "void" and np.isnan(found["H"].value)
    assert found["acc_s"].value == 1


def test_a_language_counts_where_the_model_has_it_alone():
    table = grid(target={"a": [0, 0]}, **{LANGUAGE + "spanish": {"a": [1, 0]}, LANGUAGE + "welsh": {"a": [0, 0]}})
    before = table.assign(value=(table["role"] != LANGUAGE + "welsh").astype(float))
    found = figures("pinpoint", table, before=[before])
    assert found["target in spanish"].value == 0.5 and found["target in welsh"].mark == "void"


def test_intervals_hold_the_truth_as_often_as_they_say_where_prompts_differ():
    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        chances = rng.beta(2, 2, 20)  # of 20 prompts, mean one half
        hits = {f"{place}": rng.random(4) < chance for place, chance in enumerate(chances)}
        table = pd.DataFrame(
            [{"role": TARGET, "concept": "a", "value": float(hit), "unit": prompt, "prompt": prompt}
             for prompt, own in hits.items() for hit in own]
        )  # fmt: skip
        found = figures("erased", table)["1 − acc_e"]
        held += found.low <= 0.5 <= found.high
    assert held >= 90


def test_targets_meet_the_same_draws_so_that_shared_prompts_are_clusters():
    """Two targets that share their prompts are no more evidence than one, where a prompt decides."""
    one = pd.DataFrame(
        [{"role": SAME, "concept": "b", "value": float(place % 2), "unit": str(place), "prompt": str(place)}
         for place in range(20)]
    )  # fmt: skip
    alone, twice = (figures("erased", *tables)["acc_s"] for tables in ([one], [one, one]))
    assert twice.high - twice.low == pytest.approx(alone.high - alone.low, rel=0.1)
