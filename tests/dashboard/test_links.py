"""Addresses: what a link says is what is read."""

import pytest

from workbench.dashboard.links import Address, bench_link, browse_link, concept_link, feature_link, read_address


@pytest.mark.parametrize(
    ("link", "address"),
    [
        (browse_link(), Address("browse")),
        (browse_link("red fox & cat", "toy/text.2", "density", 3),
         Address("browse", query="red fox & cat", sae="toy/text.2", sort="density", page=3)),
        (feature_link("a b/c", 12), Address("feature", sae="a b/c", feature=12)),
        (concept_link("mira voss/é"), Address("concept", concept="mira voss/é")),
        (bench_link("toy/text.2", [3, 4], "a fox"),
         Address("bench", sae="toy/text.2", features=(3, 4), prompt="a fox")),
        ("/concepts", Address("concepts")),
        ("/sae/x/feature/minus", Address("missing")),
        ("/?sort=colour&page=-2", Address("browse")),
    ],
)  # fmt: skip
def test_links_are_read_as_they_are_written(link, address):
    path, _, search = link.partition("?")
    assert read_address(path, f"?{search}") == address
