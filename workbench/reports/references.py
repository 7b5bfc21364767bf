"""The works that a report cites: its methods, its measures, and what its figures are made after."""

from collections.abc import Iterable

from workbench.attacks import attacks as attacks_by_name
from workbench.attacks import find_attack
from workbench.erasure import find_method, named_in
from workbench.papers import Reference

MEASURES = (
    Reference(
        title="Probable inference, the law of succession, and statistical inference",
        authors="E. B. Wilson",
        year=1927,
        doi="10.1080/01621459.1927.10502953",
        venue="Journal of the American Statistical Association 22",
    ),
    Reference(
        title="Bootstrap methods: another look at the jackknife",
        authors="B. Efron",
        year=1979,
        doi="10.1214/aos/1176344552",
        venue="The Annals of Statistics 7",
    ),
    Reference(
        title="Note on the sampling error of the difference between correlated proportions or percentages",
        authors="Q. McNemar",
        year=1947,
        doi="10.1007/BF02295996",
        venue="Psychometrika 12",
    ),
    Reference(
        title="MACE: mass concept erasure in diffusion models (its harmonic mean of efficacy and specificity)",
        authors="S. Lu, Z. Wang, L. Li, Y. Liu, A. W.-K. Kong",
        year=2024,
        arxiv="2403.06135",
        venue="CVPR",
    ),
)
SELECTION = Reference(
    title="On some multiple decision (selection and ranking) rules",
    authors="S. S. Gupta",
    year=1965,
    doi="10.1080/00401706.1965.10490251",
    venue="Technometrics 7",
)
AUTOENCODERS = Reference(
    title="Scaling and evaluating sparse autoencoders", authors="L. Gao et al.", year=2024, arxiv="2406.04093"
)
ATTENTION = Reference(
    title="What the DAAM: interpreting Stable Diffusion using cross attention",
    authors="R. Tang et al.",
    year=2023,
    arxiv="2210.04885",
    venue="ACL",
)
STUDIES = (
    MEASURES[1],
    Reference(
        title="A simple sequentially rejective multiple test procedure",
        authors="S. Holm",
        year=1979,
        address="https://www.jstor.org/stable/4615733",
        venue="Scandinavian Journal of Statistics 6",
    ),
    Reference(
        title="Adjusted Wald confidence interval for a difference of binomial proportions based on paired data",
        authors="D. G. Bonett, R. M. Price",
        year=2012,
        doi="10.3102/1076998611411915",
        venue="Journal of Educational and Behavioral Statistics 37",
    ),
    Reference(
        title="Locating and editing factual associations in GPT (causal tracing)",
        authors="K. Meng, D. Bau, A. Andonian, Y. Belinkov",
        year=2022,
        arxiv="2202.05262",
        venue="NeurIPS",
    ),
    Reference(
        title="Interpretability in the wild: a circuit for indirect object identification in GPT-2 small (mean "
        "ablation, patching)",
        authors="K. Wang, A. Variengien, A. Conmy, B. Shlegeris, J. Steinhardt",
        year=2023,
        arxiv="2211.00593",
        venue="ICLR",
    ),
)


def references(
    methods: Iterable[str], *, several: bool, attention: bool, autoencoders: bool, attacks: Iterable[str] = ()
) -> list[Reference]:
    """The works behind a report, each once.

    Args:
        methods: What the edits call their methods; those that no table knows, such as controls, cite nothing.
        several: Whether methods are compared.
        attention: Whether maps of attention are shown.
        autoencoders: Whether features of autoencoders are.
        attacks: The names of attacks that were made.

    Returns:
        The methods' papers, those of the attacks, then the measures, then what else is shown.
    """
    cited = dict.fromkeys(paper for name in named_in(methods) if (paper := find_method(name).paper))  # type: ignore[attr-defined]
    known = [name for name in dict.fromkeys(attacks) if name in attacks_by_name()]
    against = [paper for name in known if (paper := getattr(find_attack(name), "paper", None))]
    shown = {SELECTION: several, AUTOENCODERS: autoencoders, ATTENTION: attention}
    return [*cited, *against, *MEASURES, *(work for work, wanted in shown.items() if wanted)]
