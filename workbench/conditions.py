"""Names of the conditions that are compared: the model itself, the controls, and the methods."""

UNEDITED = "unedited"  # the condition that every trial has
AT = " @ "  # between a method and the strength at which it is used
RECONSTRUCTED = "(reconstructed)"  # after a method that is not its authors': so it is marked wherever it is named
CONTROLS = ("no-op", "random")  # conditions whose names begin like this show what doing nothing, or anything, does


def is_method(condition: str) -> bool:
    """Whether a condition of this name is neither the unedited model nor a control."""
    return condition != UNEDITED and not condition.startswith(CONTROLS)


def marked(name: str) -> str:
    """The name of a reconstruction with its mark, before the strength if there is one."""
    method, at, strength = name.partition(AT)
    return name if RECONSTRUCTED in name else f"{method} {RECONSTRUCTED}{at}{strength}"
