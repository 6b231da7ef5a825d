"""Weights that others published and that run here: what they are called, and their exact files.

A file is recognised by its SHA-256, never by its name alone, so what was verified once is what
runs. How to get them: ``nanoos models pull NAME`` (network) or ``nanoos models add FOLDER``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedWeights:
    """One published set of weights.

    Attributes:
        name: As published; the name of its folder here.
        family: ``CGCNN-2018``, ``matgl`` or ``goldilocks``.
        files: File name to SHA-256.
        urls: File name to where it was published.
        license: SPDX identifier.
        source: Authors and repository.
        gives: Models and potentials that need it.
    """

    name: str
    family: str
    files: Mapping[str, str]
    urls: Mapping[str, str]
    license: str
    source: str
    gives: tuple[str, ...]


_CGCNN: Final = "https://github.com/txie-93/cgcnn/raw/master"
_CGCNN_FILES: Final = {
    "atom_init.json": "cb90bd2257dbf8cfc4e6b2b6d4348d4616e8e9680f1339b1461137032e0f1894",
    "band-gap.pth.tar": "d269775b9be0995c046abed3dd6556c281a3eff7b2e1d73cf81b99e2a1d4aa6c",
    "bulk-moduli.pth.tar": "0a3f66b9a0ee6acef11bb852717424a6c3560073239c17bdbea568cc43816dd3",
    "efermi.pth.tar": "5ed4ba15b5bd3e04ce6b0eca75f15bb6465557aada4097f11291ea1e7cd48afb",
    "final-energy-per-atom.pth.tar": (
        "1afe9260a0b7bd01d2a0a752fbac12be5badea6a56e57aeea5877ae8f9a32c57"
    ),
    "formation-energy-per-atom.pth.tar": (
        "e2f8bb910744f2c2f21d968285b6fd4316d795d0f3e7465ed0e3b4f3c92651a1"
    ),
    "poisson-ratio.pth.tar": "8d152338550b49ff6c3790cccdb892ee8bafe513bc49ab21955cdf7807e89513",
    "semi-metal-classification.pth.tar": (
        "3791d48885afafb28c0797e22637b63ea591cf7fb27497ce537911261b92edc8"
    ),
    "shear-moduli.pth.tar": "34173bc59a0a8f9f74021155b304b74d9e709b1ff241d3f02e83031c9deb216c",
}

_MATGL: Final = "https://github.com/materialsvirtuallab/matgl/raw/e9cde22/pretrained_models"


def _matgl(name: str, model: str, state: str, *gives: str) -> PublishedWeights:
    return PublishedWeights(
        name=name,
        family="matgl",
        files={"model.pt": model, "state.pt": state},
        urls={file: f"{_MATGL}/{name}/{file}" for file in ("model.pt", "state.pt")},
        license="BSD-3-Clause",
        source="matgl (Materials Virtual Lab), github.com/materialsvirtuallab/matgl",
        gives=gives,
    )


_GOLDILOCKS: Final = "https://huggingface.co/STFC-SCD/kpoints-goldilocks-QRF"
_GOLDILOCKS_AT: Final = "75588288f755522e47984b5a31b82824860d6943"

_ALL: Final = (
    PublishedWeights(
        name="CGCNN-2018",
        family="CGCNN-2018",
        files=_CGCNN_FILES,
        urls={
            file: f"{_CGCNN}/{'data/sample-regression' if file.endswith('json') else 'pre-trained'}/{file}"
            for file in _CGCNN_FILES
        },
        license="MIT",
        source="Xie and Grossman, github.com/txie-93/cgcnn",
        gives=("CGCNN-2018",),
    ),
    _matgl(
        "MEGNet-MP-2018.6.1-Eform",
        "2cafe3234e3ab5987f22b6d2cb6be15a68121046571129ace5ed3fcad1c19624",
        "35381368b17a2783f9ee09af5556cf1d84b74bf786b82d3fadd4acb38c51d040",
        "MEGNet",
    ),
    _matgl(
        "MEGNet-MP-2019.4.1-BandGap-mfi",
        "2bf11f0548fc3c0d52718d9f4ca4ccd40c2b6c831b9d5e2c249e5270257eb201",
        "2927ab9646ec3e099a3e42b1358a3c477db7356e2413bfa540fe0106cde628f9",
        "MEGNet",
        "MEGNet-GLLB",
        "MEGNet-HSE",
        "MEGNet-SCAN",
    ),
    _matgl(
        "M3GNet-MP-2021.2.8-PES",
        "62678f76fbc5d8997ea1d7f3c4bf086df200102125c802b32b08ce14fbcde25b",
        "a9aa723705bd1a242ec8749332f137811c4a94e17995a564f8f94a9aca68061b",
        "M3GNET",
    ),
    _matgl(
        "M3GNet-MatPES-PBE-v2025.1-PES",
        "94b511e45d576cb38a54e2d952fac1eb66e179fb3cddf48ccd86bf4f689f86df",
        "9f710eac88ec2c666c8e488883c59768cf11c116f177e9d82896ae56f3fc338d",
        "M3GNET-MatPES-PBE",
    ),
    _matgl(
        "M3GNet-MatPES-r2SCAN-v2025.1-PES",
        "3ebc5de43da48b2e042e6258e5209c0d13d43a5ba566e8fdcb52df091d042602",
        "b9b3234afc655b282c7930ff32cb5a5f98edde4a93475b0d4605b59c161fe483",
        "M3GNET-MatPES-r2SCAN",
    ),
    _matgl(
        "TensorNet-MatPES-PBE-v2025.1-PES",
        "1cba95766c872082eec349a7e417a28461aea450b655a0301eec060a985fdd71",
        "d2dfa51a65d23a47fd935eb0628177d2a1088584562091ef3350ce3a002fce6a",
        "TensorNet-MatPES-PBE",
    ),
    _matgl(
        "TensorNet-MatPES-r2SCAN-v2025.1-PES",
        "0444e7e9396e1b34be25e33821373c93eedacd214b23d686323e19740495c23d",
        "b1f87297bac09ada6f0e2f41d362d784f894ff0f1f031478187c55ec661b71ba",
        "TensorNet-MatPES-r2SCAN",
    ),
    PublishedWeights(
        name="kpoints-goldilocks-QRF95",
        family="goldilocks",
        files={
            "QRF95.pkl": "2647b976a57637cc34e4874f3b0ff3436a7c032761b774fdd9e56e69fddaffcc",
            "MODEL_CARD.md": "8b44e0fb795e48a49b15ac3ece239053117635eec655c5b5f581b40303e97c10",
        },
        urls={
            "QRF95.pkl": f"{_GOLDILOCKS}/resolve/{_GOLDILOCKS_AT}/QRF95.pkl",
            "MODEL_CARD.md": f"{_GOLDILOCKS}/raw/{_GOLDILOCKS_AT}/README.md",
        },
        license="CC-BY-4.0",
        source="Patyukova et al., DOI 10.1039/D5DD00565E, a pickle that nanoos never ran",
        gives=(),
    ),
)

PUBLISHED: Final[Mapping[str, PublishedWeights]] = {weights.name: weights for weights in _ALL}
"""Name to published weights."""

UNTRIED_FAMILIES: Final = frozenset({"goldilocks"})
"""Families that nothing here runs: their weights are kept for comparison, and marked untried."""

UNUSABLE: Final[Mapping[str, str]] = {
    "kpoints-goldilocks-ALIGNNd": (
        "it is a changing list of training checkpoints (pickles) without hashes that could be pinned, "
        "and its network is not part of this package"
    ),
    "M3GNet-MP-2018.6.1-Eform": (
        "its read-out has other names in this matgl, and with them mapped the network still gives "
        "0.03 eV/atom on crystals where its authors report 0.007: some other part changed"
    ),
    "QET-MatQ-PES": "its charge equilibration was saved for a graph library that matgl left",
}
"""Published sets that are known and do not run here, with the reason."""
