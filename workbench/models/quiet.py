"""Without the bars and warnings of other libraries."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

NO_MATTER = "requires torchvision (not installed)"  # of image processors that no pipeline of ours uses


def silence_torchvision() -> None:
    """Keeps transformers from saying twice, as soon as diffusers looks at it, that torchvision is not there."""
    logger = logging.getLogger("transformers.utils.import_utils")
    if _matters not in logger.filters:
        logger.addFilter(_matters)


def _matters(record: logging.LogRecord) -> bool:
    return NO_MATTER not in record.getMessage()


@contextmanager
def quiet() -> Iterator[None]:
    """Without the bars that diffusers and transformers draw while they load."""
    import diffusers
    import transformers

    loggers = (diffusers.utils.logging, transformers.utils.logging)
    bars = [logger for logger in loggers if logger.is_progress_bar_enabled()]
    for bar in bars:
        bar.disable_progress_bar()
    try:
        yield
    finally:
        for bar in bars:
            bar.enable_progress_bar()
