"""The page of a prompt: which features fire on which word."""

from dash import dcc, html
from dash.development.base_component import Component

from workbench.dashboard.asking import Words, saes_at
from workbench.dashboard.evidence import framed
from workbench.dashboard.library import Library
from workbench.dashboard.links import Address
from workbench.dashboard.pages.running import buttons, field, results, running
from workbench.dashboard.parts import feature_name
from workbench.reports.cards import coloured_tokens
from workbench.reports.evidence import Strip


def words_page(library: Library, address: Address) -> list[Component]:
    """A form for a prompt.

    Args:
        library: What the pages read.
        address: May name an SAE and a prompt.

    Returns:
        Components.
    """
    names = saes_at(library, words=True)
    head = [
        html.H1("Words"),
        html.P("Type a prompt, and see which features fire on which word.", className="byline"),
    ]
    if not names:
        return [*head, html.P("No autoencoder here is at a site that prompts pass: name one with --sae.")]
    prompt = address.prompt or library.prompts[0].prompt
    form = [
        field("Autoencoder", dcc.Dropdown(names, address.sae or names[0], id="words-sae", clearable=False)),
        field("Prompt", dcc.Textarea(id="words-prompt", value=prompt, rows=2)),
        buttons("fire", "Show"),
    ]
    return [*head, html.Section(form, className="form line"), html.Section(results()), *running()]


def fired(library: Library, words: Words) -> list[Component]:
    """A table of features and tokens: the darker, the stronger.

    Args:
        library: Knows what features are called.
        words: What a job found.

    Returns:
        Components.
    """
    found = words.found
    if not found.features:
        return [html.P("No feature fires on this prompt.", className="none")]
    tokens = framed(found.tokens, found.begins)
    shown = [at for at in range(len(tokens)) if at or not found.begins]  # the begin token is equal in every prompt
    head = html.Tr([html.Th("feature", className="left"), *(html.Th(tokens[at], className="token") for at in shown)])
    largest, rows = float(found.values.max()), []
    for feature, values in zip(found.features, found.values.T, strict=True):
        strip = Strip(
            prompt=words.prompt, tokens=tuple(tokens[at] for at in shown), activations=tuple(values[shown].tolist())
        )
        cells = [
            html.Td(
                token.value if value > 0 else "", title=f"{token.text}: {token.value}",
                style={"background": token.colour, "color": token.ink},
            )
            for token, value in zip(coloured_tokens(strip, largest), values[shown], strict=True)
        ]  # fmt: skip
        name = html.Td(feature_name(library, words.sae, feature), className="left")
        rows.append(html.Tr([name, *cells]))
    said = (
        f"The {len(rows)} strongest features of {words.sae}, in the order of the words on which they are strongest. "
        "Numbers are activations, on one scale."
    )
    table = html.Table([html.Thead(head), html.Tbody(rows)], className="results heat")
    return [html.P(said, className="hint"), html.Div(table, className="wide")]
