"""A protocol as data: what is asked, with which seeds and sampling, who judges, and which figures are made of it."""

from collections.abc import Mapping
from pathlib import Path
from string import Formatter
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from saes.config import Seed, StrictConfig
from saes.disk import read_json
from saes.errors import WorkbenchError
from saes.settings import build
from saes.strict_yaml import read_yaml
from workbench.protocols.figures import FIGURES
from workbench.settings import Setting

FOLDER = Path(__file__).parent / "files"
Reads = Literal["best", "given", "found", "clip"]


class Protocol(StrictConfig):
    """A protocol. Prompts are of a grid (`domains` and `prompts`), or of a list that its user brings (`takes`).

    Args:
        about: What it asks, in a sentence.
        source: Where it is from.
        figures: A name of `FIGURES`: how what is read becomes figures.
        reads: What counts of a picture. best: its expected concept has the highest score of its domain. given: the
            same, among pictures in which any concept of the domain is found. found: its score reaches the judge's
            threshold. clip: 100 cos to its own prompt.
        among: What an expected concept is to be told from: the others of its domain, or all of its kind that the judge
            knows, as the top-1 of a classifier of a thousand classes.
        judge: Who judges, in words.
        judges: The judges that are taken if none is named, as `--judge` has them.
        domains: Domain → its concepts.
        prompts: Templates with domains in braces; every combination is asked.
        seeds: The seeds of each prompt, or how many from 0.
        seed_style: The class of plain pictures, which is no target and enters neither IRA nor CRA.
        synonyms: Concept → other words for it, which take its place in `prompts`.
        near: Concept → concepts near it, of its domain.
        implied: Concept → prompts that bring it about without naming it.
        languages: Language → templates like `prompts`, in which words of `translated` take the target's place.
        translated: Language → concept → word.
        takes: What list its user brings, in words; "" for a grid.
        sampling: How pictures are sampled; what is left out is the model's default.
        units: What intervals resample: prompts with all their pictures, or pictures, where prompts are one a concept.
        ordered: Whether edits are put in place one after another, in the order in which they are given.
        differs: In what its figures here differ from published ones, each in a sentence.
    """

    about: str
    source: str
    figures: str
    reads: Reads
    judge: str
    among: Literal["domain", "judge"] = "domain"
    judges: tuple[str, ...] = ()
    domains: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    prompts: tuple[str, ...] = ()
    seeds: int | tuple[Seed, ...] = 1
    seed_style: str = ""
    synonyms: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    near: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    implied: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    languages: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    translated: dict[str, dict[str, str]] = Field(default_factory=dict)
    takes: str = ""
    sampling: dict[str, Any] = Field(default_factory=dict)
    units: Literal["prompts", "pictures"] = "prompts"
    ordered: bool = False
    differs: tuple[str, ...] = ()

    @field_validator("sampling")
    @classmethod
    def _plain(cls, sampling: Mapping[str, Any]) -> Mapping[str, Any]:
        for name, value in sampling.items():
            if not isinstance(value, Setting):
                raise ValueError(f"{name} is no number, text or truth value")
        return sampling

    @model_validator(mode="after")
    def _fits_together(self) -> "Protocol":
        if self.figures not in FIGURES:
            raise ValueError(f"{self.figures!r} is none of the figures {', '.join(FIGURES)}")
        if bool(self.takes) == bool(self.domains):
            raise ValueError("it needs either `domains` or what it `takes`")
        if not self.takes and not self.numbers:
            raise ValueError("it has no seeds")
        for template in (*self.prompts, *(one for templates in self.languages.values() for one in templates)):
            for name in fields(template):
                if name not in self.domains:
                    raise ValueError(f"{template!r} names {name!r}, which is no domain")
        concepts = [name for names in self.domains.values() for name in names]
        if len(set(concepts)) < len(concepts):
            raise ValueError("a concept is listed twice in `domains`")
        about = (*self.synonyms, *self.near, *self.implied, *(name for own in self.near.values() for name in own))
        for name in (*about, *([self.seed_style] if self.seed_style else [])):
            if not self.takes and name not in concepts:
                raise ValueError(f"{name!r} is in no domain")
        return self

    @property
    def numbers(self) -> tuple[int, ...]:
        """The seeds of each prompt."""
        return tuple(range(self.seeds)) if isinstance(self.seeds, int) else self.seeds

    @property
    def targets(self) -> tuple[str, ...]:
        """The concepts that can be erased; none of a list, which says them itself."""
        return tuple(name for own in self.domains.values() for name in own if name != self.seed_style)

    def domain_of(self, concept: str) -> str:
        """The domain of a concept.

        Args:
            concept: One of a grid.

        Returns:
            Its name.
        """
        return next(name for name, own in self.domains.items() if concept in own)


def fields(template: str) -> tuple[str, ...]:
    """The domains that a template names, each once.

    Args:
        template: With names in braces.
    """
    return tuple(dict.fromkeys(name for _, name, _, _ in Formatter().parse(template) if name is not None))


def read_protocol(path: Path | str) -> Protocol:
    """Reads a protocol.

    Args:
        path: A YAML file with the fields of `Protocol`.

    Returns:
        The protocol.

    Raises:
        WorkbenchError: A field is unknown or lacking, or fields do not fit together.
    """
    return build(Protocol, read_yaml(Path(path)), str(path))


def read_made(path: Path) -> Protocol:
    """The protocol that a folder of `workbench protocol` holds.

    Args:
        path: Its protocol.json.

    Returns:
        The protocol.

    Raises:
        WorkbenchError: The file is damaged.
    """
    return build(Protocol, read_json(path), str(path))


def protocols_of(*folders: Path) -> dict[str, Path]:
    """The protocols in folders, by name.

    Args:
        *folders: With YAML files.

    Returns:
        Name → file, those of the first folder first.

    Raises:
        WorkbenchError: Two have one name.
    """
    found: dict[str, Path] = {}
    for path in (path for folder in folders for path in sorted(folder.glob("*.yaml"))):
        if found.setdefault(path.stem, path) != path:
            raise WorkbenchError(f"Two protocols are called {path.stem!r}.", "Rename one of the files.")
    return found
