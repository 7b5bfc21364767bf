"""What positions hold follows the rows and positions that a hook is given."""

import torch

from workbench.hooks import Clock, Place, Tokens

TOKENS = Tokens(
    torch.tensor([[Place.BEGIN, Place.WORD, Place.END], [Place.BEGIN, Place.PADDING, Place.END]], dtype=torch.int8),
    torch.tensor([[0, 1, 2], [0, 1, 2]]),
    torch.tensor([[7, 3, 9], [7, 0, 9]]),
)


def test_the_last_positions_are_those_of_a_shorter_call():
    last = TOKENS.last(1)
    assert last.places.tolist() == [[Place.END], [Place.END]] and last.ids.tolist() == [[9], [9]]
    assert TOKENS.last(3).position.tolist() == TOKENS.position.tolist()


def test_rows_of_no_picture_are_left_out():
    clock = Clock("image", 0, None, ("cond", "uncond"), aside=1, tokens=TOKENS)
    assert clock.own.tokens.ids.tolist() == [[7, 3, 9]] and clock.own.roles == ("cond",)
    assert clock.tokens.ids.tolist() == TOKENS.ids.tolist()
