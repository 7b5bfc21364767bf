"""Figures of what an edit changes inside a model. Their inputs are the tables of `workbench.interpret.inside`."""

from collections.abc import Mapping

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.figures.template import COLOURS, HEAT, INK, QUIET, RULE, TEMPLATE, colours_of, faded, figure

ROW = 19  # pixels
FATES = {"died": "#d55e00", "born": "#009e73", "kept": "#b6bec4"}


def change_map(change: pd.DataFrame) -> go.Figure:
    """Relative change by layer (rows, in the order of the model) and step; the text, which is read once, at the left.

    Args:
        change: `Inside.change`: columns site, part, step, timestep (NaN: text, and all of a Janus), relative, 0 or
            more. White is no change at all.

    Returns:
        The figure.
    """
    of_picture = change["part"] == "picture"
    text, pictures = change[~of_picture], change[of_picture]
    written = bool(pictures["timestep"].isna().all())  # row by row
    once = max(text["part"].nunique(), 1)
    plot = make_subplots(1, 2, column_widths=[0.07 + 0.06 * once, 0.93 - 0.06 * once], horizontal_spacing=0.17)
    top = max(float(change["relative"].max()), 1e-9)
    for column, part in enumerate((text, pictures), start=1):
        across = "part" if column == 1 else "step"
        grid = part.pivot_table(index="site", columns=across, values="relative", sort=False)
        times = part.groupby(across)["timestep"].first().reindex(grid.columns)
        labels = (
            list(grid.columns)
            if column == 1
            else [f"{step + 1}" if written else f"{time:.0f}" for step, time in times.items()]
        )
        plot.add_heatmap(
            z=grid.to_numpy(), x=labels, y=list(grid.index), zmin=0, zmax=top, colorscale=HEAT, xgap=1, ygap=1,
            showscale=column == 2, colorbar={"thickness": 8, "outlinewidth": 0, "tickformat": ".0%"},
            hovertemplate="%{y}, %{x}: %{z:.2%}<extra></extra>", row=1, col=column,
        )  # fmt: skip
    plot.update_xaxes(type="category", showgrid=False).update_yaxes(autorange="reversed", showgrid=False, ticks="")
    title = "row of the picture" if written else "timestep, from noise to picture"
    plot.update_xaxes(title_text=title, row=1, col=2)
    rows = max(text["site"].nunique(), pictures["site"].nunique())
    return plot.update_layout(template=TEMPLATE, height=110 + ROW * rows, margin={"l": 8, "t": 12})


def change_by_layer(changes: Mapping[str, pd.DataFrame]) -> go.Figure:
    """Relative change at each layer, mean over steps, a line for each edit with its interval as a band.

    Args:
        changes: `Inside.change` by name; what comes first stays grey, so that is the place of a control.

    Returns:
        The figure.
    """
    plot = figure(height=380, legend={"orientation": "h", "y": 1.12})
    for name, colour in colours_of(list(changes)).items():
        own = changes[name].groupby("site", sort=False)[["relative", "low", "high"]].mean()
        sites = list(own.index)
        plot.add_scatter(
            x=[*sites, *sites[::-1]], y=[*own["high"], *own["low"][::-1]], fill="toself", mode="lines",
            line={"width": 0}, fillcolor=faded(colour, 0.15), hoverinfo="skip", showlegend=False, legendgroup=name,
        )  # fmt: skip
        plot.add_scatter(
            x=sites, y=own["relative"], name=name, legendgroup=name, mode="lines+markers",
            line={"color": colour, "width": 1.6}, marker={"size": 5},
            hovertemplate="%{x}: %{y:.1%}<extra>" + name + "</extra>",
        )  # fmt: skip
    plot.update_xaxes(tickangle=-60, showgrid=False, tickfont={"size": 11})
    return plot.update_yaxes(title_text="relative change of the activation", tickformat=".0%", rangemode="tozero")


def feature_fates(features: pd.DataFrame) -> go.Figure:
    """Each feature's mean activation before (across) and after (up), a panel a site: those on the diagonal stayed.

    Features that died lie on the floor, those that were born on the left wall.

    Args:
        features: `Inside.features`: columns site, feature, before, after, fires_before, fires_after.

    Returns:
        The figure.
    """
    sites = list(dict.fromkeys(features["site"]))
    plot = make_subplots(1, max(len(sites), 1), subplot_titles=sites, horizontal_spacing=0.1)
    fates = features.apply(_fate, axis=1) if len(features) else pd.Series(dtype=str)
    named: set[str] = set()  # fates that the legend has already
    for column, site in enumerate(sites, start=1):
        own = features[features["site"] == site]
        most = 1.05 * float(own[["before", "after"]].to_numpy().max())
        plot.add_scatter(
            x=[0, most], y=[0, most], mode="lines", line={"color": RULE, "width": 1}, hoverinfo="skip",
            showlegend=False, row=1, col=column,
        )  # fmt: skip
        for fate, colour in reversed(FATES.items()):
            some = own[fates[own.index] == fate]
            if some.empty:
                continue
            plot.add_scatter(
                x=some["before"], y=some["after"], text=some["feature"], mode="markers", name=fate, legendgroup=fate,
                showlegend=fate not in named,
                marker={"size": 7, "color": colour, "line": {"width": 0.5, "color": "#ffffff"}},
                hovertemplate="feature %{text}: %{x:.3g} → %{y:.3g}<extra>" + fate + "</extra>", row=1, col=column,
            )  # fmt: skip
            named.add(fate)
    plot.update_xaxes(title_text="mean activation before", rangemode="tozero")
    plot.update_yaxes(title_text="after", rangemode="tozero").update_annotations(font={"size": 12.5, "color": QUIET})
    return plot.update_layout(template=TEMPLATE, height=380, margin={"t": 40})


def attention_moved(attention: pd.DataFrame) -> go.Figure:
    """The picture's attention to each token before and after, mean over layers, a panel a prompt.

    A grey dot is before, the line leads to the dot after. The scale is logarithmic, since the begin token and the
    padding get most.

    Args:
        attention: `Inside.attention` of a few prompts: columns site, prompt, position, token, before, after, shares in
            [0, 1].

    Returns:
        The figure.
    """
    prompts = list(dict.fromkeys(attention["prompt"]))
    plot = make_subplots(len(prompts), 1, subplot_titles=prompts, vertical_spacing=0.32 / len(prompts))
    for row, prompt in enumerate(prompts, start=1):
        own = attention[attention["prompt"] == prompt]
        shares = own.groupby(["position", "token"], sort=False)[["before", "after"]].mean().reset_index()
        for place, share in shares.iterrows():
            plot.add_scatter(
                x=[place, place], y=[share["before"], share["after"]], mode="lines", hoverinfo="skip",
                line={"color": RULE, "width": 3}, showlegend=False, row=row, col=1,
            )  # fmt: skip
        for name, colour in (("before", QUIET), ("after", COLOURS[1])):
            plot.add_scatter(
                x=list(range(len(shares))), y=shares[name], text=shares["token"], mode="markers", name=name,
                legendgroup=name, showlegend=row == 1, marker={"size": 9, "color": colour},
                hovertemplate="%{text}: %{y:.1%}<extra>" + name + "</extra>", row=row, col=1,
            )  # fmt: skip
        plot.update_xaxes(tickvals=list(range(len(shares))), ticktext=list(shares["token"]), row=row, col=1)
    plot.update_yaxes(tickformat=".2~p", type="log", dtick="D2", title_text="attention").update_xaxes(showgrid=False)
    plot.update_annotations(font={"size": 12.5, "color": INK})
    return plot.update_layout(template=TEMPLATE, height=60 + 230 * len(prompts), margin={"t": 40})


def _fate(row: pd.Series) -> str:
    if row["fires_after"] == 0:
        return "died"
    return "born" if row["fires_before"] == 0 else "kept"
