"""A report cites the paper of every method that has one."""

from workbench.erasure import METHODS, find_method
from workbench.reports.references import METHODS as WORKS
from workbench.reports.references import references


def test_every_method_with_a_paper_is_cited_with_that_paper():
    for name in set(METHODS) - {"uce_debias"}:  # that is UCE's paper, and its edits say uce_debias
        paper = find_method(name).paper
        if paper.startswith("arXiv:"):
            assert WORKS[name].link == "https://arxiv.org/abs/" + paper.removeprefix("arXiv:"), name
            assert WORKS[name] in references([name], several=False, attention=False, autoencoders=False)
