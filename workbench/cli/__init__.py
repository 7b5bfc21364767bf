"""The command line, one file per sub-command. These files import typer and names; what is heavy is imported when run."""
