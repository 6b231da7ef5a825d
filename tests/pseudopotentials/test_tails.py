"""The local potential far from the ion."""

import re
import tarfile

import numpy as np
import pytest

from nanoos.pseudopotentials.tails import COULOMB_FROM_BOHR, with_coulomb_tail

COPPER_Z = 19.0


@pytest.fixture(scope="module")
def copper(shared) -> bytes:
    with tarfile.open(shared / "pseudos" / "pseudodojo_pbe_sr_v0.4.1_standard.tar.xz") as archive:
        member = next(m for m in archive if m.name.endswith("/Cu.upf"))
        return archive.extractfile(member).read()


def numbers(data: bytes, name: str) -> np.ndarray:
    found = re.search(rf"<{name}\b[^>]*>(.*?)</{name}>".encode(), data, re.DOTALL)
    return np.array(found.group(1).split(), dtype=np.float64)


def test_far_from_the_ion_its_charge_is_all_that_is_left(copper):
    mended = with_coulomb_tail(copper, COPPER_Z)
    r = numbers(copper, "PP_R")
    before, after = numbers(copper, "PP_LOCAL"), numbers(mended, "PP_LOCAL")
    far = r >= COULOMB_FROM_BOHR
    assert np.abs(before[far] * r[far] + 2 * COPPER_Z).max() > 1e-3  # the noise
    np.testing.assert_allclose(after[far] * r[far], -2 * COPPER_Z, rtol=1e-11)
    np.testing.assert_allclose(after[~far], before[~far], rtol=1e-11)
    assert abs(after[far][0] - before[~far][-1]) < 0.02  # goes on without a step


def test_nothing_else_of_the_file_changes(copper):
    mended = with_coulomb_tail(copper, COPPER_Z)
    for name in ("PP_R", "PP_RAB", "PP_NLCC", "PP_RHOATOM", r"PP_BETA\.5", "PP_DIJ"):
        assert numbers(mended, name).tolist() == numbers(copper, name).tolist()
    head = copper.index(b"<PP_LOCAL")
    assert mended[:head] == copper[:head]
    assert mended.endswith(copper[copper.index(b"</PP_LOCAL>") :])
    assert with_coulomb_tail(mended, COPPER_Z) == mended


@pytest.mark.parametrize(
    "data",
    [
        b"<UPF>another program</UPF>",
        b"<UPF>ONCVPSP<PP_R>1 2</PP_R></UPF>",
        b"<UPF>ONCVPSP<PP_R>1 2</PP_R><PP_LOCAL>1</PP_LOCAL></UPF>",
        b"<UPF>ONCVPSP<PP_R>1 2</PP_R><PP_LOCAL>1 x</PP_LOCAL></UPF>",
    ],
)
def test_other_files_stay_as_they_are(data):
    assert with_coulomb_tail(data, 4.0) == data
