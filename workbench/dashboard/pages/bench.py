"""The bench: a form for what to change, and the pictures without and with it."""

from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.bench import CONTROL, Outcome
from workbench.dashboard.changes import ACTIONS, ALWAYS, words_of
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address
from workbench.dashboard.pages.running import buttons, field, results, running, sheet, spoken, text
from workbench.dashboard.parts import feature_name

FIELDS = ("sae", "features", "action", "strength", "high", "low")  # of a change; part of each field's id
HINT = (
    "Scaling acts wherever a feature fires: 0 turns it off, 2 doubles it. Set and add act on all words of a prompt or "
    "all of a picture. To replace a feature by another, scale the one by 0 and add the other."
)


def bench_page(library: Library, address: Address) -> list[Component]:
    """The bench with the features and the prompt of an address filled in.

    Args:
        library: What the pages read.
        address: Of the bench.

    Returns:
        Components.
    """
    sae = address.sae if address.sae in library.caches else next(iter(library.caches))
    row = change_row(library, 0, sae, ", ".join(map(str, address.features)))
    prompt = address.prompt or (library.prompts[0].prompt if library.prompts else "")
    form = [
        html.H2("Changes"),
        html.Div([row], id="changes"),
        html.Button("Another change", id="another", className="button"),
        html.P(HINT, className="hint"),
        html.H2("Pictures"),
        field("Prompts, one a line", dcc.Textarea(id="prompts", value=prompt, rows=3)),
        field("Seeds", text("seeds", "0-3")),
        dcc.Checklist(
            [{"label": "with a control: other features that fire about as often", "value": "control"}], ["control"],
            id="control", className="tick",
        ),
        buttons("generate", "Generate"),
    ]  # fmt: skip
    return [
        html.H1("Bench"),
        html.P("Change features, and look at the same prompts and seeds without and with it.", className="byline"),
        html.Div([html.Section(form, className="form"), html.Section(_results(library, prompt))], className="bench"),
        *running(),
    ]


def _results(library: Library, prompt: str) -> list[Component]:
    named = [concept.name for concept in library.concepts if concept.name in prompt]
    concepts = [concept.name for concept in library.concepts]
    return [
        *results(),
        html.Div(
            [
                html.H2("Keep it"),
                html.Div(
                    [
                        field("Name", text("name", "")),
                        html.Button("Save as edit", id="save-edit", className="button"),
                        field("Concept of the study", dcc.Dropdown(concepts, named[0] if named else None, id="about")),
                        html.Button("Save as study", id="save-study", className="button"),
                    ],
                    className="keep",
                ),
                html.P(id="saved", **spoken()),
            ],
            id="keeping",
            hidden=True,
        ),
    ]


def change_row(library: Library, number: int, sae: str, features: str = "") -> Component:
    """The fields of one change.

    Args:
        library: Knows the SAEs.
        number: Part of the fields' ids, so it must be new.
        sae: The SAE that is chosen.
        features: What the field of features holds.

    Returns:
        A component.
    """
    ids = {name: {"field": name, "row": number} for name in FIELDS}
    window = [
        html.Label(["from timestep ", dcc.Input(id=ids["high"], type="number", value=ALWAYS[0], min=0, max=1000)]),
        html.Label(["down to ", dcc.Input(id=ids["low"], type="number", value=ALWAYS[1], min=0, max=1000)]),
    ]
    actions = [{"label": words, "value": action} for action, words in ACTIONS.items()]
    return html.Fieldset(
        [
            dcc.Dropdown(list(library.caches), sae, id=ids["sae"], clearable=False, searchable=False),
            field("Features", dcc.Input(id=ids["features"], type="text", value=features)),
            html.Div(id={"known": "features", "row": number}, className="known"),
            html.Div(
                [
                    dcc.RadioItems(actions, "scale", id=ids["action"], inline=True, className="actions"),
                    dcc.Input(id=ids["strength"], type="number", value=0, step="any"),
                ],
                className="what",
            ),
            html.Div(window, id={"known": "window", "row": number}, className="window"),
            html.Button("×", id={"remove": number}, className="remove", title="Remove this change"),
        ],
        id=f"change-{number}",
    )


def known_features(library: Library, sae: str, features: tuple[int, ...]) -> list[Component]:
    """What the chosen features are called.

    Args:
        library: What the pages read.
        sae: The SAE's name on the dashboard.
        features: Their numbers.

    Returns:
        Links to at most twelve that there are.
    """
    there = [feature for feature in features[:12] if feature < library.cache(sae).d_sae]
    return [feature_name(library, sae, feature) for feature in there]


def outcome(found: Outcome) -> list[Component]:
    """The pictures, a row a condition, each with how far it is from the unedited one.

    Args:
        found: What a job made.

    Returns:
        Components.
    """
    said = [html.Li(words_of(change)) for change in found.request.changes]
    return [
        html.Ul(said, className="done"),
        sheet(found.request.pairs, found.pictures),
        _legend(found),
    ]


def _legend(found: Outcome) -> Component:
    said = "Moved by: the mean distance of a pixel from the unedited picture, in grey levels of 255."
    if CONTROL in found.pictures:
        said += f" “{CONTROL}”: the same change to as many others, which fire about as often over all prompts."
    return html.P(said, className="hint")
