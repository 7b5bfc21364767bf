"""Figures of attacks. Their inputs are the tables of `workbench.attacks.tables`."""

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from workbench.conditions import UNEDITED
from workbench.figures.template import COLOURS, HEAT, INK, QUIET, TEMPLATE, faded, figure

CONTROLS = {"new seeds": "circle-open", "at random": "diamond-open", "ceiling": "line-ns-open"}
ACROSS = 5  # panels in a row
_SHARE = {"range": [-0.03, 1.03], "tickvals": [0, 0.5, 1], "ticktext": ["0", "50", "100"]}


def attack_bars(table: pd.DataFrame) -> go.Figure:
    """What succeeds before and after each attack, beside its controls: a panel for each attack, a row for each edit.

    Args:
        table: `attack_table(run)`, of one suite or of all. A bar goes from pre to post; its line is the interval of
            post, hollow marks are controls, the upright stroke is the ceiling.

    Returns:
        The figure. The unedited model is the ceiling and no row.
    """
    own = table[(table["condition"] != UNEDITED) & ~table["of_never_known"]]
    attacks, conditions = list(dict.fromkeys(own["attack"])), list(dict.fromkeys(own["condition"]))
    plot = make_subplots(1, max(len(attacks), 1), shared_yaxes=True, horizontal_spacing=0.02, subplot_titles=attacks)
    for column, (attack, colour) in enumerate(_coloured(attacks).items(), start=1):
        rows = own[own["attack"] == attack]
        plot.add_trace(_from_pre_to_post(rows, colour), row=1, col=column)
        for control, symbol in CONTROLS.items():
            shown = rows[rows[control].notna()]
            marker = {"symbol": symbol, "size": 13 if control == "ceiling" else 8, "color": INK, "line": {"width": 1.5}}
            plot.add_trace(
                go.Scatter(
                    x=shown[control], y=shown["condition"], mode="markers", name=control, legendgroup=control,
                    showlegend=column == 1, marker=marker,
                    hovertemplate=f"%{{y}}, {control}: %{{x:.1%}}<extra>{attack}</extra>",
                ),
                row=1, col=column,
            )  # fmt: skip
    plot.update_xaxes(**_SHARE, title_text="% of rows", title_font_size=12)
    plot.update_yaxes(categoryorder="array", categoryarray=conditions[::-1], showline=False, ticks="")
    plot.update_annotations(font={"size": 12.5, "color": QUIET})
    legend = {"orientation": "h", "y": -60 / (26 * len(conditions) + 20), "x": 0.5, "xanchor": "center"}
    return plot.update_layout(template=TEMPLATE, height=150 + 26 * len(conditions), legend=legend, bargap=0.5)


def _coloured(attacks: list[str]) -> dict[str, str]:
    return {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(attacks)}


def _from_pre_to_post(rows: pd.DataFrame, colour: str) -> go.Bar:
    error = {
        "type": "data", "symmetric": False, "array": rows["post_high"] - rows["post"],
        "arrayminus": rows["post"] - rows["post_low"], "thickness": 1, "width": 0, "color": faded(colour, 0.6),
    }  # fmt: skip
    return go.Bar(
        x=rows["post"] - rows["pre"], base=rows["pre"], y=rows["condition"], orientation="h", showlegend=False,
        marker={"color": faded(colour, 0.55), "line": {"color": colour, "width": 1}}, error_x=error,
        customdata=rows[["pre", "post"]],
        hovertemplate="%{y}: %{customdata[0]:.1%} before, %{customdata[1]:.1%} after<extra></extra>",
    )  # fmt: skip


def budget_curves(curve: pd.DataFrame, unit: str = "images") -> go.Figure:
    """How many rows succeed for how much: a panel for each edit, `ACROSS` in a row, a stair for each attack, dotted for
    its new seeds.

    Args:
        curve: `budget_curve(run)`, of one suite.
        unit: "images" or "gradients".

    Returns:
        The figure. The unedited model has no panel.
    """
    own = curve[(curve["unit"] == unit) & (curve["condition"] != UNEDITED)]
    conditions, colours = list(dict.fromkeys(own["condition"])), _coloured(list(dict.fromkeys(own["attack"])))
    across = max(min(len(conditions), ACROSS), 1)
    down = max(-(-len(conditions) // across), 1)
    plot = make_subplots(
        down, across, shared_yaxes=True, horizontal_spacing=0.02, vertical_spacing=0.3 / down, subplot_titles=conditions
    )
    most = float(max([1, *own["spent"]]))
    for place, condition in enumerate(conditions):
        for (attack, control), rows in own[own["condition"] == condition].groupby(["attack", "control"], sort=False):
            if control in ("", "new seeds") and (unit == "images" or not control):
                stair = _stair(rows, str(attack), str(control), colours[attack], most, first=not place)
                plot.add_trace(stair, row=place // across + 1, col=place % across + 1)
    plot.update_xaxes(range=[0, most * 1.02]).update_xaxes(title_text=f"{unit} a row", title_font_size=12, row=down)
    plot.update_yaxes(range=[-0.03, 1.03], tickformat=".0%").update_annotations(font={"size": 12.5, "color": QUIET})
    plot.update_yaxes(title_text="rows that succeed", col=1)
    return plot.update_layout(template=TEMPLATE, height=120 + 220 * down)


def _stair(rows: pd.DataFrame, attack: str, control: str, colour: str, most: float, *, first: bool) -> go.Scatter:
    x, y = [*rows["spent"], most], [*rows["asr"], rows["asr"].iloc[-1]]
    line = {"shape": "hv", "color": colour, "width": 1.2 if control else 2, "dash": "dot" if control else "solid"}
    return go.Scatter(
        x=x, y=y, mode="lines", name=f"{attack}, {control}" if control else attack, legendgroup=f"{attack} {control}",
        showlegend=first, line=line, hovertemplate="%{y:.0%} for %{x:g}<extra>" + attack + "</extra>",
    )  # fmt: skip


def transfer_heatmap(matrix: pd.DataFrame) -> go.Figure:
    """Prompts that were made against one edit, tried on the others: a row for the former, a column for the latter.

    Args:
        matrix: `transfer_matrix(run)`, of one suite and one attack.

    Returns:
        The figure; blank where a pair was not asked.
    """
    table = matrix.pivot_table(index="made_against", columns="tried_on", values="asr", sort=False)
    order = list(dict.fromkeys([*matrix["made_against"], *matrix["tried_on"]]))
    rows = [name for name in order if name in table.index]
    table = table.reindex(index=rows, columns=[name for name in order if name in table.columns])
    heat = go.Heatmap(
        z=table.to_numpy(), x=list(table.columns), y=rows, zmin=0, zmax=1, colorscale=HEAT, xgap=2, ygap=2,
        texttemplate="%{z:.0%}", colorbar={"tickformat": ".0%", "thickness": 10, "len": 0.8},
        hovertemplate="made against %{y}, tried on %{x}: %{z:.1%}<extra></extra>",
    )  # fmt: skip
    plot = figure(height=120 + 34 * len(rows), margin={"l": 120, "t": 20, "b": 90})
    plot.add_trace(heat)
    plot.update_xaxes(title_text="tried on", showgrid=False, type="category")
    return plot.update_yaxes(title_text="made against", autorange="reversed", showgrid=False, type="category")
