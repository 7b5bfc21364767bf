"""A report cites the paper of every method that has one."""

from workbench.erasure import METHODS, find_method
from workbench.reports.references import MEASURES, references

NOTHING = {"several": False, "attention": False, "autoencoders": False}


def test_every_method_with_a_paper_is_cited_with_that_paper():
    for name in METHODS:
        paper = find_method(name).paper
        assert references([name], **NOTHING) == [*filter(None, [paper]), *MEASURES]
        if paper:
            assert paper.title in paper.text and str(paper.year) in paper.text and paper.link.startswith("https://")


def test_a_paper_is_cited_once_also_for_composed_edits_and_controls_cite_nothing():
    uce, rece = find_method("uce").paper, find_method("rece").paper
    cited = references(["uce + rece", "UCE", "uce_debias", "no-op", "random directions like uce"], **NOTHING)
    assert cited == [uce, rece, *MEASURES]
    assert uce.text == (
        "R. Gandikota, H. Orgad, Y. Belinkov, J. Materzyńska, D. Bau. Unified Concept Editing in Diffusion Models. "
        "WACV, 2024."
    )
    assert rece.text.startswith("C. Gong et al. Reliable")
    assert uce.short == "arXiv:2308.14761" and MEASURES[1].short == "doi.org/10.1214/aos/1176344552"
