"""Which methods draw something at random, so that a comparison fits them with several seeds."""

from workbench.erasure import METHODS, find_method
from workbench.erasure.trce import TRCE


def test_methods_that_draw_nothing_say_so():
    """That they do draw nothing is a check of the conformance suite; here, that nobody forgot to say it."""
    once = {name for name in METHODS if not find_method(name)().seeded}
    assert once == {"itd", "steerer", "detect_replace", "uce", "rece", "sld", "negative_prompt"}
    told = {name for name in METHODS if "nothing is drawn at random" in (find_method(name).fit.__doc__ or "")}
    assert once == told


def test_only_the_second_stage_of_trce_draws():
    assert not TRCE(stages="1").seeded and TRCE(stages="2").seeded and TRCE().seeded
