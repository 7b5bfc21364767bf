"""The works that a report cites: its methods, its measures, and what its figures are made after."""

from collections.abc import Iterable
from typing import NamedTuple


class Reference(NamedTuple):
    """One work; `link` is its arXiv or DOI address."""

    text: str
    link: str


METHODS = {  # name of the method → its paper
    "itd": Reference(
        "Z. Tian, S. Nan, M. Xu, S. Zhai, W. Qu, J. Liu, K. Ren, R. Jia, J. Zhang. Sparse autoencoder as a zero-shot "
        "classifier for concept erasing in text-to-image diffusion models (Interpret then Deactivate). 2025.",
        "https://arxiv.org/abs/2503.09446",
    ),
    "steerer": Reference(
        "D. Kim, D. Ghadiyaram. Concept steerers: leveraging k-sparse autoencoders for controllable generations. 2025.",
        "https://arxiv.org/abs/2501.19066",
    ),
    "saeuron": Reference(
        "B. Cywiński, K. Deja. SAeUron: interpretable concept unlearning in diffusion models with sparse autoencoders. "
        "ICML 2025.",
        "https://arxiv.org/abs/2501.18052",
    ),
    "uce": Reference(
        "R. Gandikota, H. Orgad, Y. Belinkov, J. Materzyńska, D. Bau. Unified concept editing in diffusion models. "
        "WACV 2024.",
        "https://arxiv.org/abs/2308.14761",
    ),
    "rece": Reference(
        "C. Gong et al. Reliable and efficient concept erasure of text-to-image diffusion models. ECCV 2024.",
        "https://arxiv.org/abs/2407.12383",
    ),
    "trce": Reference(
        "R. Chen et al. TRCE: towards reliable malicious concept erasure in text-to-image diffusion models. 2025.",
        "https://arxiv.org/abs/2503.07389",
    ),
    "esd": Reference(
        "R. Gandikota, J. Materzyńska, J. Fiotto-Kaufman, D. Bau. Erasing concepts from diffusion models. ICCV 2023.",
        "https://arxiv.org/abs/2303.07345",
    ),
    "concept_ablation": Reference(
        "N. Kumari, B. Zhang, S.-Y. Wang, E. Shechtman, R. Zhang, J.-Y. Zhu. Ablating concepts in text-to-image "
        "diffusion models. ICCV 2023.",
        "https://arxiv.org/abs/2303.13516",
    ),
    "all_but_one": Reference(
        "S. Hong, J. Lee, S. S. Woo. All but one: surgical concept erasing with model preservation in text-to-image "
        "diffusion models. AAAI 2024.",
        "https://arxiv.org/abs/2312.12807",
    ),
    "sld": Reference(
        "P. Schramowski, M. Brack, B. Deiseroth, K. Kersting. Safe latent diffusion: mitigating inappropriate "
        "degeneration in diffusion models. CVPR 2023.",
        "https://arxiv.org/abs/2211.05105",
    ),
    "negative_prompt": Reference(
        "J. Ho, T. Salimans. Classifier-free diffusion guidance. 2022.", "https://arxiv.org/abs/2207.12598"
    ),
    "co_erasing": Reference(
        "F. Li, Q. Xu, S. Bao, Z. Yang, X. Cao, Q. Huang. One image is worth a thousand words: a usability preservable "
        "text-image collaborative erasing framework. ICML 2025.",
        "https://arxiv.org/abs/2505.11131",
    ),
    "few_shot": Reference(
        "M. Fuchi, T. Takagi. Erasing concepts from text-to-image diffusion models with few-shot unlearning. "
        "BMVC 2024.",
        "https://arxiv.org/abs/2405.07288",
    ),
    "spm": Reference(
        "M. Lyu et al. One-dimensional adapter to rule them all: concepts, diffusion models and erasing applications. "
        "CVPR 2024.",
        "https://arxiv.org/abs/2312.16145",
    ),
    "realera": Reference(
        "Y. Liu et al. RealEra: semantic-level concept erasure via neighbor-concept mining. 2024.",
        "https://arxiv.org/abs/2410.09140",
    ),
}
MEASURES = (
    Reference(
        "E. B. Wilson. Probable inference, the law of succession, and statistical inference. Journal of the American "
        "Statistical Association 22, 1927.",
        "https://doi.org/10.1080/01621459.1927.10502953",
    ),
    Reference(
        "B. Efron. Bootstrap methods: another look at the jackknife. The Annals of Statistics 7, 1979.",
        "https://doi.org/10.1214/aos/1176344552",
    ),
    Reference(
        "Q. McNemar. Note on the sampling error of the difference between correlated proportions or percentages. "
        "Psychometrika 12, 1947.",
        "https://doi.org/10.1007/BF02295996",
    ),
    Reference(
        "S. Lu, Z. Wang, L. Li, Y. Liu, A. W.-K. Kong. MACE: mass concept erasure in diffusion models (its harmonic "
        "mean of efficacy and specificity). CVPR 2024.",
        "https://arxiv.org/abs/2403.06135",
    ),
)
SELECTION = Reference(
    "S. S. Gupta. On some multiple decision (selection and ranking) rules. Technometrics 7, 1965.",
    "https://doi.org/10.1080/00401706.1965.10490251",
)
AUTOENCODERS = Reference(
    "L. Gao et al. Scaling and evaluating sparse autoencoders. 2024.", "https://arxiv.org/abs/2406.04093"
)
ATTENTION = Reference(
    "R. Tang et al. What the DAAM: interpreting Stable Diffusion using cross attention. ACL 2023.",
    "https://arxiv.org/abs/2210.04885",
)
STUDIES = (
    MEASURES[1],
    Reference(
        "S. Holm. A simple sequentially rejective multiple test procedure. Scandinavian Journal of Statistics 6, 1979.",
        "https://www.jstor.org/stable/4615733",
    ),
    Reference(
        "D. G. Bonett, R. M. Price. Adjusted Wald confidence interval for a difference of binomial proportions based "
        "on paired data. Journal of Educational and Behavioral Statistics 37, 2012.",
        "https://doi.org/10.3102/1076998611411915",
    ),
    Reference(
        "K. Meng, D. Bau, A. Andonian, Y. Belinkov. Locating and editing factual associations in GPT (causal tracing). "
        "NeurIPS 2022.",
        "https://arxiv.org/abs/2202.05262",
    ),
    Reference(
        "K. Wang, A. Variengien, A. Conmy, B. Shlegeris, J. Steinhardt. Interpretability in the wild: a circuit for "
        "indirect object identification in GPT-2 small (mean ablation, patching). ICLR 2023.",
        "https://arxiv.org/abs/2211.00593",
    ),
)


def references(methods: Iterable[str], *, several: bool, attention: bool, autoencoders: bool) -> list[Reference]:
    """The works behind these methods, `several` of which are compared, and behind what a report shows, each once."""
    cited = [METHODS[name.lower()] for name in dict.fromkeys(methods) if name.lower() in METHODS]
    shown = {SELECTION: several, AUTOENCODERS: autoencoders, ATTENTION: attention}
    return [*cited, *MEASURES, *(work for work, wanted in shown.items() if wanted)]
