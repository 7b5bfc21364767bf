"""The look of the dashboard: that of the reports, and what only a dashboard has."""

from pathlib import Path

STATIC = Path(__file__).parent / "static"
REPORT = Path(__file__).parents[1] / "reports" / "templates" / "style.css"


def style() -> str:
    """The whole style sheet, for the live pages and for the copy.

    Returns:
        CSS.
    """
    return REPORT.read_text(encoding="utf-8") + (STATIC / "dashboard.css").read_text(encoding="utf-8")
