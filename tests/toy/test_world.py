"""The world keeps its promises: enough of everything, relatives are mutual, all words are single tokens."""

from collections import Counter

from workbench.toy import world


def test_the_world_is_as_large_as_promised():
    assert len(world.THINGS) >= 12 and len(world.COLOURS) >= 6 and len(world.ARTISTS) >= 5
    assert len(world.CHARACTERS) >= 6 and len(world.IMPLICIT) >= 3
    assert all(len(set(thing.synonyms)) >= 2 for thing in world.THINGS.values())


def test_relatives_exist_and_are_others():
    for table in (world.THINGS, world.ARTISTS, world.CHARACTERS):
        assert all(one.relative in table and one.relative != name for name, one in table.items())


def test_no_two_characters_look_alike_and_all_are_adults():
    looks = [character.looks for character in world.CHARACTERS.values()]
    assert len(set(looks)) == len(looks)
    assert {look.age for look in looks} <= {"adult", "senior"}
    assert {look.gender for look in looks} == {"woman", "man"}


def test_no_word_names_two_concepts():
    words = [word for thing in world.THINGS.values() for word in (thing.name, *thing.synonyms)]
    words += [name for artist in world.ARTISTS.values() for name in (artist.name, *artist.synonyms)]
    words += [name for person in world.CHARACTERS.values() for name in (person.name, *person.synonyms)]
    assert not [word for word, count in Counter(words).items() if count > 1]


def test_implied_wordings_never_name_the_slime():
    names = {world.SLIME, *world.SLIME_SYNONYMS}
    for wording in (*world.SLIME_IMPLIED, *world.SLIME_IMPLIED_HELD_OUT):
        assert not names & set(wording.split())
    assert not set(world.SLIME_IMPLIED) & set(world.SLIME_IMPLIED_HELD_OUT)
