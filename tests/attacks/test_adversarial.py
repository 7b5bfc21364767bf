"""What attacks came to replays: the same edit draws the same pictures bit for bit; what cannot replay is refused."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from saes.errors import WorkbenchError
from tests.attacks.painter import ERASED, JUDGE, NO_OP, SUITE, Before, painter
from tests.attacks.small import EDIT
from tests.evaluation.small import Brightness
from workbench.attacks.adversarial import adversarial_suite
from workbench.attacks.attack import AttackMethod, Attempt, Budget
from workbench.attacks.attempts import read_attempts
from workbench.attacks.replay import Replay
from workbench.attacks.running import run_attacks
from workbench.attacks.tables import attack_table
from workbench.attacks.wording import worded
from workbench.edits import WeightEdit
from workbench.evaluation.evaluate import evaluate
from workbench.evaluation.inputs import Further
from workbench.evaluation.judges import Scores
from workbench.evaluation.suites import Suite, SuiteRow, read_suite, write_suite
from workbench.evaluation.tables import metrics
from workbench.models import Begun, TokenEmbeddings, TokenIds
from workbench.reports.report import report

KINDS = ("text", "ids", "embeddings", "encoding", "start", "edit")
FOXES = Suite("fox", tuple(SuiteRow(f"a fox by {n}", "target", "fox", n) for n in range(len(KINDS))))


class Parity(Brightness):
    """Sees a fox in every picture whose numbers add up to an even one, so that a single bit more or less is seen; in
    none of the rows as they are."""

    def score(self, images: np.ndarray, prompts) -> Scores:
        even = images.astype(np.int64).sum(axis=(1, 2, 3)) % 2 == 0
        even &= [" by " not in prompt for prompt in prompts]
        return Scores(np.repeat(even[:, None], 4, axis=1).astype(np.float32), np.ones(len(images), bool))


@dataclass(frozen=True, kw_only=True)
class OfAllKinds(AttackMethod):
    """Gives each row what its prompt says, without looking whether it succeeds."""

    name = "of all kinds"
    paper = None
    access = "weights"
    cost = "nothing"

    def attempts(self, model, edit, rows, judge, *, budget, seed=0, progress=None, **sampling):
        return [self.attempt(model, KINDS[row.seed]) for row in rows]

    def attempt(self, model, kind):
        soft = model.token_embeddings("a fox")
        name = next(iter(model.prompt_maps()))
        tensors = {f"{name}:delta": torch.ones_like(model.parameter(name)).detach()}
        edit = WeightEdit(tensors=tensors, settings={}, method="by hand", concepts=["fox"],
                          base_fingerprint=model.fingerprint)  # fmt: skip
        given = {
            "text": ("a red fox", None),
            "ids": worded(model, split(model)),
            "embeddings": ("a <v>", TokenEmbeddings(soft.ids, tuple(2 * one.flip(-1) for one in soft.embeddings))),
            "encoding": ("a fox", replace(model.encode("a red dog"), prompts=None)),
            "start": ("", Begun([""], model.noise([5]), model.noise([6]), 600.0)),
            "edit": ("a fox", Further("a fox", edit)),
        }
        prompt, own = given[kind]
        return Attempt(prompt, own, False, 1, seed=7 if kind == "text" else None)


def split(model):
    """The word fox in two pieces, which its text does not give again."""
    words = model.pipe.tokenizer.get_vocab()
    ids = model.token_ids("").ids[0].clone()
    ids[0, 1:4] = torch.tensor([words["a</w>"], words["f"], words["ox</w>"]])
    return TokenIds((ids,))


def attacked(model, folder, **told):
    given = {"batch_size": 1, "floor": 0.0, "steps": 2, "controls": False, **told}
    attacks = {"every": OfAllKinds(), "words": Replay(prompts=("a blue fox",))}
    return run_attacks(model, {"own": EDIT}, FOXES, attacks, Parity(0.5), folder, **given)


@pytest.fixture(scope="module")
def run(tiny_sd1, tmp_path_factory):
    return attacked(tiny_sd1, tmp_path_factory.mktemp("adversarial") / "run")


def pictures(run, condition, role):
    rows = run.rows(condition)
    return run.pictures(rows[rows["role"] == role])


def asr(run, condition, attack):
    rows = metrics(run).set_index(["condition", "metric"])
    return 1 - rows.loc[(condition, f"{attack}_efficacy"), "value"]


def test_all_kinds_of_prompts_replay_on_the_edit_bit_for_bit_from_a_folder(run, tiny_sd1, tmp_path):
    made = read_attempts(run.dir)
    assert set(made.loc[made["attack"] == "every", "given"]) == set(KINDS)
    write_suite(adversarial_suite(run, "own"), tmp_path / "suite")
    suite = read_suite(tmp_path / "suite")
    again = evaluate(
        tiny_sd1, {"again": EDIT}, suite, Parity(0.5), tmp_path / "again", batch_size=1, floor=0.0, steps=2
    )
    for role in ("target", "every", "words"):
        first, second = pictures(run, "own", role), pictures(again, "again", role)
        assert len(first) == len(FOXES.rows) and np.array_equal(first, second)
    table = attack_table(run).set_index(["condition", "attack"])
    for attack in ("every", "words"):
        shown = again.rows("again").query("role == @attack")["shown"].mean()
        assert shown == table.loc[("own", attack), "post"]


def test_a_suite_says_what_it_was_made_against_and_its_rows_have_their_seeds_and_their_concept(run):
    suite = adversarial_suite(run, attacks=["every"])
    assert suite.name == "fox, made against own" and suite.target == "fox" and len(suite.tokenizers) == 64
    plain, found = suite.rows[:6], suite.rows[6:]
    assert plain == FOXES.rows and {row.role for row in found} == {"every"}
    assert [row.seed for row in found] == [7, 1, 2, 3, 4, 5]
    assert all(row.expected == "fox" and row.condition == "" for row in found)


def test_prompts_without_text_are_not_asked_for_as_text(run):
    with pytest.raises(WorkbenchError, match=r"What every found is no text\. Take words alone\."):
        adversarial_suite(run, as_text=True)
    assert not adversarial_suite(run, attacks=["words"], as_text=True).inputs


@pytest.mark.parametrize(
    ("told", "says"),
    [({"condition": "ow"}, "Did you mean 'own'"), ({"attacks": ["evry"]}, "Did you mean 'every'"),
     ({"concept": "fix"}, "Did you mean 'fox'")],
    ids=["condition", "attack", "concept"],
)  # fmt: skip
def test_unknown_names_are_refused(run, told, says):
    with pytest.raises(WorkbenchError, match=says):
        adversarial_suite(run, **told)


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    edits = {"erased": ERASED, "no-op": NO_OP}
    return run_attacks(painter(), edits, SUITE, {"before": Before()}, JUDGE, tmp_path_factory.mktemp("painted") / "run",
                       budget=Budget(images=3))  # fmt: skip


def test_prompts_replay_on_another_edit_and_the_table_of_an_evaluation_has_their_rate(painted, tmp_path):
    """Against the no-op the plain prompts sufficed, which the erased model does not follow."""
    for against, wanted in (("erased", 1.0), ("no-op", 0.25)):
        suite = adversarial_suite(painted, against)
        again = evaluate(painter(), {"erased": ERASED}, suite, JUDGE, tmp_path / against)
        assert asr(again, "erased", "before") == wanted
        assert metrics(again).set_index(["condition", "metric"]).loc[("erased", "efficacy"), "value"] == 0.75


def test_a_report_of_replayed_prompts_shows_them(painted, tmp_path):
    again = evaluate(painter(), {"erased": ERASED}, adversarial_suite(painted), JUDGE, tmp_path / "again")
    page = report(again, tmp_path / "report.html").read_text()
    assert "before efficacy" in page and "made by before against erased" in page and 'id="attacks"' not in page


def test_what_several_edits_or_no_attack_came_to_has_to_be_said(painted, tmp_path):
    with pytest.raises(WorkbenchError, match="Nothing was attacked"):
        adversarial_suite(evaluate(painter(), {"erased": ERASED}, SUITE, JUDGE, tmp_path / "plain"))
    both = run_attacks(painter(), {"one": ERASED, "two": NO_OP}, SUITE, {"before": Before()}, JUDGE, tmp_path / "both",
                       controls=False)  # fmt: skip
    with pytest.raises(WorkbenchError, match=r"attacks 2 conditions \(one, two\)\. Say which condition"):
        adversarial_suite(both)
    assert adversarial_suite(both, "two").name == "red, made against two"


def test_how_many_prompts_are_read_otherwise_as_text_and_what_is_lost_by_it(run):
    table = attack_table(run).set_index(["condition", "attack"])
    assert table.loc[("own", "every"), "altered"] == 1 and np.isnan(table.loc[("own", "every"), "as text"])
    words = table.loc[("own", "words")]
    assert (words["altered"], words["as text"], words["lost as text"]) == (0, words["post"], 0.0)
