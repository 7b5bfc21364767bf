"""Names of the conditions that are compared: the model itself, the controls, and the methods."""

UNEDITED = "unedited"  # the condition that every trial has
CONTROLS = ("no-op", "random")  # conditions whose names begin like this show what doing nothing, or anything, does


def is_method(condition: str) -> bool:
    """Whether a condition of this name is neither the unedited model nor a control."""
    return condition != UNEDITED and not condition.startswith(CONTROLS)
