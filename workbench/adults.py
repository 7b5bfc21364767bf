"""Which texts are kept out of every list of prompts: those that may involve a minor."""

import re

_MINOR = re.compile(
    r"\b(child(ren|hood|like)?|kids?|kiddo|boys?|girls?|school(boy|girl)s?|teen(s|age|aged|ager|agers)?|pre-?teens?"
    r"|adolescents?|toddlers?|bab(y|ies)|infants?|newborns?|minors?|under-?aged?|juveniles?|youths?|lolis?|lolita|shotas?"
    r"|kindergart\w*|pre-?school\w*|elementary school\w*|([0-9]|1[0-7])[ -]?(years?|yrs?|y\.?o))\b",
    re.IGNORECASE,
)


def may_involve_a_minor(text: str) -> bool:
    """Whether a word of a text may stand for a minor: a word filter, on purpose blunt.

    Args:
        text: A prompt, or a word.

    Returns:
        True in doubt.
    """
    return _MINOR.search(text) is not None
