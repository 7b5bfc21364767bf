"""Protocols as data: what they ask, what is read of pictures, and what is refused."""

from collections import Counter

import pytest

from saes.errors import WorkbenchError
from tests.evaluation.drawn import ColourJudge, drawn_run
from workbench import toy
from workbench.concepts import Concept
from workbench.erasure.uce import UCE
from workbench.evaluation.results import Results
from workbench.evaluation.suites import Suite, SuiteRow
from workbench.protocols.asking import suite_for
from workbench.protocols.figures import CROSS, NEAR, PLAIN, SAME, SYNONYM, TARGET
from workbench.protocols.protocol import FOLDER, Protocol, protocols_of, read_protocol
from workbench.protocols.reading import check_reads, read
from workbench.protocols.running import protocol_table, trials_of
from workbench.toy.oracle import KINDS

ABOUT = {"about": "a", "source": "b", "figures": "unlearncanvas", "reads": "best", "judge": "c"}
GRID = Protocol(
    **ABOUT, domains={"style": ("dots", "tiles", "photo"), "object": ("fox", "mug")}, seed_style="photo", seeds=(7, 8),
    prompts=("a {object} in {style}",), synonyms={"dots": ("points", "specks")}, near={"fox": ("mug",)},
    languages={"german": ("ein {object} in {style}",)}, translated={"german": {"dots": "Punkten"}},
)  # fmt: skip
COLOURS = Protocol(**ABOUT | {"figures": "erased"}, domains={"colour": ("red", "green", "blue")}, prompts=("{colour}",))
PUBLISHED, TOYS = protocols_of(FOLDER), protocols_of(toy.protocols_folder())


def counted(suite):
    return Counter((row.role, row.expected) for row in suite.rows)


def test_every_picture_of_a_grid_is_asked_by_its_style_and_by_its_object_and_is_one_picture():
    suite = suite_for(GRID, "tiles", {"tiles"}, None)
    assert counted(suite) == {
        (TARGET, "tiles"): 4, (SAME, "dots"): 4, (PLAIN, "photo"): 4, (CROSS, "fox"): 6, (CROSS, "mug"): 6,
    }  # fmt: skip
    assert len({(row.prompt, row.seed) for row in suite.rows}) == 3 * 2 * 2


def test_synonyms_and_languages_take_the_targets_place_in_every_prompt():
    suite = suite_for(GRID, "dots", {"dots"}, None)
    assert counted(suite)[SYNONYM, "dots"] == 2 * 2 * 2 and counted(suite)["in german", "dots"] == 2 * 2
    assert {"a fox in specks", "ein mug in Punkten"} <= {row.prompt for row in suite.rows}


def test_what_is_erased_together_is_no_concept_to_be_kept_and_near_ones_stand_apart():
    assert (SAME, "dots") not in counted(suite_for(GRID, "tiles", {"tiles", "dots"}, None))
    assert counted(suite_for(GRID, "fox", {"fox"}, None))[NEAR, "mug"] == 6


def test_a_list_says_what_is_erased_and_what_is_kept(tmp_path):
    (tmp_path / "list.csv").write_text(
        "prompt,artist,seed\nby one,one,3\nby two,two,4\nby three,three,5\n"
    )  # the form of MACE's lists
    listed = Protocol(**ABOUT | {"figures": "clip", "reads": "clip"}, takes="a list")
    suite = suite_for(listed, "one", {"one", "two"}, tmp_path / "list.csv")
    assert counted(suite) == {(TARGET, "one"): 1, (SAME, "three"): 1} and suite.rows[0].seed == 3
    with pytest.raises(WorkbenchError, match="needs a list"):
        suite_for(listed, "one", {"one"}, None)
    with pytest.raises(WorkbenchError, match="prompts of its own"):
        suite_for(GRID, "dots", {"dots"}, tmp_path / "list.csv")


def test_a_list_in_another_language_keeps_it_apart(tmp_path):
    (tmp_path / "list.csv").write_text(
        "prompt,role,expected,seed\na church,target,church,0\nuna iglesia,in spanish,church,0\n"
        "a tower,neighbour,tower,0\n"
    )
    hub = read_protocol(PUBLISHED["hub"])
    suite = suite_for(hub, "church", {"church"}, tmp_path / "list.csv")
    assert counted(suite) == {(TARGET, "church"): 1, ("in spanish", "church"): 1, (NEAR, "tower"): 1}


@pytest.mark.parametrize("path", [*PUBLISHED.values(), *TOYS.values()], ids=lambda path: path.stem)
def test_every_shipped_protocol_reads_and_asks(path):
    protocol = read_protocol(path)
    if not protocol.takes:
        for target in protocol.targets[:: max(1, len(protocol.targets) // 3)]:
            suite = suite_for(protocol, target, {target}, None)
            assert suite.target == target and suite.dropped == 0
    if path.stem in TOYS:
        assert set(protocol.targets) <= set(KINDS) and not protocol.takes and protocol.judges
        assert path.stem == "toy-sequential" or path.stem.removeprefix("toy-") in PUBLISHED


def test_unlearncanvas_has_fifty_styles_twenty_objects_five_seeds_and_plain_pictures():
    protocol = read_protocol(PUBLISHED["unlearncanvas"])
    assert len(protocol.targets) == 70 and len(protocol.domains["object"]) == 20
    suite = suite_for(protocol, "Van Gogh", {"Van Gogh"}, None)
    assert len({(row.prompt, row.seed) for row in suite.rows}) == 5100
    assert {row.seed for row in suite.rows} == {188, 288, 588, 688, 888}
    assert len({row.expected for row in suite.rows if row.role == SAME}) == 49


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"figures": "fid"}, "none of the figures"), ({"takes": "a list"}, "either"), ({"seeds": 0}, "no seeds"),
        ({"prompts": ("a {thing}",)}, "no domain"), ({"seed_style": "oil"}, "in no domain"),
        ({"domains": {"a": ("x", "x")}, "prompts": ("{a}",)}, "twice"), ({"sampling": {"steps": [1]}}, "no number"),
    ],
)  # fmt: skip
def test_what_does_not_fit_together_is_refused_when_it_is_read(change, said):
    with pytest.raises(ValueError, match=said):
        Protocol.model_validate(COLOURS.model_dump() | change)


@pytest.fixture
def run(tmp_path):
    """A run in which `weak` paints red green, and every other colour as it should."""
    rows = suite_for(COLOURS, "red", {"red"}, None)
    return drawn_run(tmp_path / "run", {"weak": lambda row: "green" if row.expected == "red" else row.expected}, rows)


def test_the_best_of_a_domain_and_what_is_found_are_read_off_scores(run):
    results = Results.of(run)
    values = read(COLOURS, results, 0, "weak").set_index("concept")["value"]
    assert values.to_dict() == {"red": 0, "green": 1, "blue": 1}
    assert read(COLOURS, results, 0, "unedited")["value"].tolist() == [1, 1, 1]
    found = COLOURS.model_copy(update={"reads": "found"})
    assert read(found, results, 0, "weak")["value"].tolist() == values.tolist()


def test_pictures_in_which_nothing_is_found_leave_the_accuracy(tmp_path):
    suite = suite_for(COLOURS, "red", {"red"}, None)
    run = drawn_run(tmp_path / "run", {"gone": lambda row: "nothing" if row.expected == "red" else "blue"}, suite)
    table = read(COLOURS.model_copy(update={"reads": "given"}), Results.of(run), 0, "gone")
    values = {(role, concept): value for role, concept, value in table[["role", "concept", "value"]].to_numpy()}
    assert (TARGET, "red") not in values and values["found in target", "red"] == 0
    assert values[SAME, "green"] == 0 and values[SAME, "blue"] == 1 and values["found in same_domain", "green"] == 1


def test_the_table_has_a_row_for_each_condition_and_figure(run):
    table = protocol_table(COLOURS, run, [ColourJudge()]).set_index(["condition", "figure"])["value"]
    assert table["weak", "1 − acc_e"] == 1 and table["weak", "acc_s"] == 1 and table["unedited", "1 − acc_e"] == 0


def test_the_best_of_one_concept_and_unknown_ones_are_refused():
    alone = COLOURS.model_copy(update={"domains": {"colour": ("red",)}})
    with pytest.raises(WorkbenchError, match="nothing to be told from"):
        check_reads(alone, [suite_for(alone, "red", {"red"}, None)], ColourJudge())
    grey = Suite("grey", (SuiteRow("grey", TARGET, "grey", 0),))
    with pytest.raises(WorkbenchError, match="grey"):
        check_reads(COLOURS, [grey], ColourJudge())


@pytest.fixture
def edits(tiny_sd1):
    return {
        name: UCE().fit(tiny_sd1, [Concept(concept, anchor="cat")])
        for name, concept in (("a", "red"), ("b", "green"), ("c", "red"))
    }


def test_edits_of_one_method_are_one_condition_over_their_targets(edits):
    two = {name: edits[name] for name in "ab"}
    trials = {suite.target: own for suite, own in trials_of(COLOURS, two)}
    assert trials == {"red": {"uce": edits["a"]}, "green": {"uce": edits["b"]}}
    with pytest.raises(WorkbenchError, match="c is a second edit of uce that erases 'red'"):
        trials_of(COLOURS, edits)
    with pytest.raises(WorkbenchError, match="Nothing is erased"):
        trials_of(COLOURS, {})
    assert [(suite.target, own) for suite, own in trials_of(COLOURS, {}, targets=["blue"])] == [("blue", {})]


def test_a_target_may_be_called_otherwise_than_the_edit_calls_it(edits):
    ((suite, own),) = trials_of(COLOURS, {"a": edits["a"]}, targets=["blue"])
    assert suite.target == "blue" and own == {"uce": edits["a"]}


def test_steps_of_a_sequence_put_each_edit_in_place_after_those_before_it(edits):
    two = {name: edits[name] for name in "ab"}
    trials = trials_of(COLOURS.model_copy(update={"ordered": True}), two)
    assert [suite.target for suite, _ in trials] == ["red", "green"]
    for suite, own in trials:
        assert list(own) == ["1: red", "2: red + green"] and own["1: red"] is edits["a"]
        assert own["2: red + green"].parts == (edits["a"], edits["b"])
        assert counted(suite)[SAME, "blue"] == 1, "what the others erase is not to be kept"
