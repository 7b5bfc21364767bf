"""Which safe sentence each unsafe one is paired with."""

from workbench.concepts import Concept
from workbench.fitting.pairs import Pair, nearest, safe_pairs
from workbench.toy import concepts


def test_with_an_anchor_every_word_pairs_with_the_anchor_in_its_own_template():
    fox = Concept("fox", anchor="owl", synonyms=["vixen"], templates=["a {}", "two {}s by"])
    assert safe_pairs(fox) == [
        Pair("a fox", "an owl"), Pair("two foxs by", "two owls by"),
        Pair("a vixen", "an owl"), Pair("two vixens by", "two owls by"),
    ]  # fmt: skip


def test_implied_wordings_pair_with_the_nearest_safe_sentence():
    nude = Concept("nudity", anchor="dress", templates=["a woman in {}", "{}"], captions=["a man at the beach"],
                   implied=["a woman in her morning bath", "sunbathing at the beach"])  # fmt: skip
    assert safe_pairs(nude)[2:] == [
        Pair("a woman in her morning bath", "a woman in dress"), Pair("sunbathing at the beach", "a man at the beach"),
    ]  # fmt: skip


def test_without_an_anchor_the_wording_is_put_around_every_caption():
    slime = Concept("slime", templates=["a red cat covered in {}"], captions=["a red cat", "a house", "a mug"],
                    implied=["look: a red cat from the bog"])  # fmt: skip
    assert safe_pairs(slime, contexts=2) == [
        Pair("a red cat covered in slime", "a red cat"), Pair("a house covered in slime", "a house"),
        Pair("look: a red cat from the bog", "a red cat"), Pair("look: a house from the bog", "a house"),
    ]  # fmt: skip


def test_a_caption_counts_only_as_whole_words_and_the_longest_one_counts():
    slime = Concept("slime", templates=["a red caterpillar in {}", "a red cat by voss in {}"],
                    captions=["a red cat", "a red cat by voss"])  # fmt: skip
    pairs = safe_pairs(slime)
    assert pairs[0] == Pair("a red caterpillar in slime", "a red cat")
    assert pairs[1:] == [
        Pair("a red cat by voss in slime", "a red cat by voss"),
        Pair("a red cat in slime", "a red cat"),
    ]


def test_a_caption_is_replaced_only_where_it_is_whole_words():
    slime = Concept("slime", templates=["a cat by a caterpillar in {}"], captions=["a cat", "a mug"])
    assert safe_pairs(slime)[1] == Pair("a mug by a caterpillar in slime", "a mug")


def test_without_anchor_and_captions_the_safe_sentence_is_empty():
    assert safe_pairs(Concept("fox", templates=["a {}"])) == [Pair("a fox", "")]


def test_nearest_takes_the_largest_share_of_common_words_and_the_first_of_equals():
    assert nearest("a red cat", ["a blue dog", "the red cat sat on a mat", "A red dog"]) == "A red dog"
    assert nearest("cat", ["a cat", "the cat"]) == "a cat"


def test_every_concept_of_the_toy_has_pairs_and_none_whose_safe_sentence_names_it():
    for concept in concepts().values():
        pairs = safe_pairs(concept)
        assert len(pairs) >= len(concept.prompts()) and len(set(pairs)) == len(pairs)
        for pair in pairs:
            assert pair.safe and pair.safe != pair.unsafe
            assert not any(word in pair.safe.split() for word in concept.words())
