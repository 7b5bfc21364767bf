"""`workbench sites`: the places of a model where activations can be read and edited."""

from workbench.cli.opening import loads_a_model, opened
from workbench.cli.options import Config, Json, ModelName
from workbench.cli.tables import show


@loads_a_model
def sites(model: ModelName, json: Json = False, config: Config = None) -> None:
    """List the sites of a model, by the names that every other command takes.

    Example:  workbench sites toy
    """

    rows = [
        {
            "site": alias, "component": site.component, "positions": site.positions, "channels": site.channels,
            "path": site.path,
        }
        for alias, site in opened(model).sites().items()
    ]  # fmt: skip
    show(rows, json=json, title=f"Sites of {model}")
