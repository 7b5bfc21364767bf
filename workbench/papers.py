"""Works that are cited: by methods, measures and figures, in the heads of files, on the command line and in reports."""

from typing import NamedTuple


class Reference(NamedTuple):
    """One work. Give `arxiv` or `doi`, or an address where there is neither."""

    title: str
    authors: str
    year: int
    arxiv: str = ""  # 2303.07345
    doi: str = ""  # 10.1214/aos/1176344552
    venue: str = ""
    address: str = ""

    @property
    def text(self) -> str:
        """Authors, title, venue and year, as a list of references has them."""
        return f"{self.authors.rstrip('.')}. {self.title}. {', '.join(filter(None, [self.venue, str(self.year)]))}."

    @property
    def link(self) -> str:
        """Where it can be read."""
        if self.arxiv:
            return f"https://arxiv.org/abs/{self.arxiv}"
        return f"https://doi.org/{self.doi}" if self.doi else self.address

    @property
    def short(self) -> str:
        """Its number alone: "arXiv:2303.07345"."""
        return f"arXiv:{self.arxiv}" if self.arxiv else self.link.removeprefix("https://")
