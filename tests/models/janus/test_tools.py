"""Tools beside the model on a Janus: features, interventions and replays work, and studies say what they need."""

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.evaluation.small import Brightness, suite
from tests.tiny_saes import random_sae
from workbench.attacks.attack import Budget
from workbench.attacks.replay import Replay
from workbench.concepts import Concept
from workbench.edits.interventions import intervention
from workbench.interpret.find_features import find_features
from workbench.studies.observing import observed


def test_features_of_a_concept_are_found(tiny_janus):
    """They fire on text and picture tokens alike; each prompt has the picture of its own number."""
    sae = random_sae(tiny_janus, "lm.1")
    table = find_features(tiny_janus, sae, Concept("fox", retain=["dog"], templates=("a {}",)))
    with tiny_janus.session(record=["lm.1"]) as session:
        tiny_janus.sample_codes("a fox", 0)
    words = session.records["lm.1"][0][1][0, [3, 4, -1]]  # without the template
    own = torch.cat([words, *(x[0] for _, x in session.records["lm.1"][1:])])
    loudest = (sae.encode(own) > 0).float() * sae.encode(own)
    best = table.of("fox").set_index("feature").target_mean
    assert best.to_dict() == pytest.approx({f: float(loudest[:, f].max()) for f in best.index}, rel=1e-3)


@pytest.mark.parametrize("action", ["scale", "clamp", "add"])
def test_features_are_changed_in_text_and_picture(tiny_janus, action):
    sae = random_sae(tiny_janus, "lm.1", d_sae=64, k=32)
    edit = intervention(tiny_janus, sae, range(32), action=action, strength=5.0)
    plain = tiny_janus.generate("a fox", [1, 2])
    with tiny_janus.edited(edit):
        assert not np.array_equal(tiny_janus.generate("a fox", [1, 2]), plain)
    with tiny_janus.edited(edit.no_op()):
        assert np.array_equal(tiny_janus.generate("a fox", [1, 2]), plain)


def test_wordings_are_replayed_on_it(tiny_janus):
    edit, rows = intervention(tiny_janus, random_sae(tiny_janus, "lm.1"), [0], strength=0.0), suite().rows[:1]
    attack = Replay(wordings=("vixen", "fox"))
    attack.check(tiny_janus, rows, Budget())
    (found,) = attack.attempts(tiny_janus, edit, rows, Brightness(), budget=Budget())
    assert found.success and found.prompt == "a photo of a fox", "its tokenizer has no vixen"


def test_studies_say_what_they_compare(tiny_janus):
    with pytest.raises(WorkbenchError, match="A study compares equal positions from call to call"):
        observed(tiny_janus, ["lm.1"], ["a fox"])
