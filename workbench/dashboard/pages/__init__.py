"""The pages: functions from the library and an address to components, for the live server and the copy alike."""

from dash import dcc, html
from dash.development.base_component import Component

from saes.errors import WorkbenchError
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address
from workbench.dashboard.pages.bench import bench_page
from workbench.dashboard.pages.browse import browse_page
from workbench.dashboard.pages.concepts import concept_page, concepts_page
from workbench.dashboard.pages.edits import edits_page
from workbench.dashboard.pages.feature import feature_page
from workbench.dashboard.pages.picture import picture_page
from workbench.dashboard.pages.words import words_page

PAGES = {
    "feature": feature_page, "concept": concept_page, "concepts": concepts_page, "browse": browse_page,
    "bench": bench_page, "words": words_page, "picture": picture_page, "edits": edits_page,
}  # fmt: skip
FORMS = (
    "bench",
    "words",
    "picture",
    "edits",
)  # which a person fills in; not made anew under the hands
COMING = "coming"  # id on the page that is shown until there are features


def page(library: Library, address: Address) -> list[Component]:
    """The page at an address. One that names what is not there says so.

    Args:
        library: What the pages read.
        address: Which page.

    Returns:
        Components.
    """
    if not library.caches and address.kind != "missing":
        return coming(library)
    try:
        if address.kind in PAGES:
            return PAGES[address.kind](library, address)
    except WorkbenchError as error:
        return nothing_here(str(error))
    return nothing_here("There is no such page.")


def coming(library: Library) -> list[Component]:
    """What is shown until the features of the first autoencoder were looked at.

    Args:
        library: Without a cache.

    Returns:
        Components.
    """
    names = ", ".join(source.name for source in library.sources)
    said = f"The features of {names} are looked at for the first time, and appear here by themselves."
    return [html.H1("Features", id=COMING), html.P(said, className="byline")]


def nothing_here(sentence: str) -> list[Component]:
    """What is shown in the place of a page that cannot be.

    Args:
        sentence: Why.

    Returns:
        Components.
    """
    return [html.H1("Not here"), html.P(sentence, id="problem"), html.P(dcc.Link("To all features", href="/"))]
