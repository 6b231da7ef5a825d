import subprocess
import sys

import pytest

from nanoos.core.errors import InvalidInputError, NotFoundError, UnavailableError
from nanoos.potentials import (
    POTENTIALS,
    check_elements,
    covered_elements,
    get_potential,
    potentials_covering,
)


def test_light_coverage_is_that_of_the_potentials():
    for name in POTENTIALS.names():
        try:
            potential = get_potential(name)
        except UnavailableError:  # weights or a tool that are not on this machine
            continue
        assert covered_elements(name) == potential.elements


def test_reference_member_is_never_suggested():
    assert potentials_covering({"Mg", "O"}) == ["CHGNet", "SevenNet"]
    assert potentials_covering({"Cm"}) == []


def test_what_misses_its_package_is_refused_and_not_suggested(monkeypatch):
    from nanoos.potentials import registry

    registry.check_potential("chgnet")
    POTENTIALS.get("CHGNet")  # as doctor: its module imports too
    monkeypatch.setattr(registry, "_PACKAGES", {"CHGNet": ("torch", "no_such_package")})
    monkeypatch.setattr(POTENTIALS, "get", _refuse)
    with pytest.raises(UnavailableError):
        registry.check_potential("CHGNet")
    assert "CHGNet" not in potentials_covering({"Mg", "O"})


def _refuse(name: str) -> None:
    raise UnavailableError(f"{name} needs a package.")


def test_refusal_names_element_and_what_covers_it():
    with pytest.raises(InvalidInputError) as caught:
        check_elements("LJ", {"Bk", "O"})
    assert caught.value.details["elements"] == ["Bk"]
    assert caught.value.hint == "No installed potential covers it."


def test_misspelling():
    with pytest.raises(NotFoundError) as caught:
        get_potential("sevenet")
    assert "SevenNet" in caught.value.hint


def test_no_such_device():
    with pytest.raises(InvalidInputError):
        get_potential("CHGNet", device="abacus")


def test_cuda_is_not_pretended():
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(UnavailableError, match="CUDA"):
        get_potential("CHGNet", device="cuda")


def test_threads_are_one_until_told():
    code = (
        "import torch\n"
        "from nanoos.potentials import get_potential, set_threads\n"
        "from nanoos.potentials.runtime import apply_threads\n"
        "apply_threads(); assert torch.get_num_threads() == 1\n"
        "set_threads(2); assert torch.get_num_threads() == 2\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_listing_loads_no_torch():
    code = (
        "import sys\n"
        "from nanoos.potentials import potentials_covering, load_references\n"
        "assert 'CHGNet' in potentials_covering({'Si'}); load_references('CHGNet')\n"
        "assert 'torch' not in sys.modules\n"
        "assert 'pymatgen' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
