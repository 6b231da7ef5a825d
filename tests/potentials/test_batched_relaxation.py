"""Many crystals relaxed together end where each ends alone."""

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, NanoosError
from nanoos.potentials import get_potential, relax, relax_many
from nanoos.potentials.lennard_jones import LennardJones
from nanoos.potentials.relaxation import space_group_label
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite


def fcc(a, element="Cu"):
    sites = np.array([[0, 0, 0], [0, 0.5, 0.5], [0.5, 0, 0.5], [0.5, 0.5, 0]])
    return Structure(lattice=a * np.eye(3), species=(element,) * 4, frac_coords=sites)


def hcp(a, element="Mg"):
    lattice = a * np.array([[1, 0, 0], [-0.5, 0.75**0.5, 0], [0, 0, 1.6]])
    sites = np.array([[1 / 3, 2 / 3, 0.25], [2 / 3, 1 / 3, 0.75]])
    return Structure(lattice=lattice, species=(element,) * 2, frac_coords=sites)


CRYSTALS = (
    rocksalt(4.0),
    perturbed(fcc(3.6), 0.05),
    hcp(2.7),
    fcc(4.0, "Al"),
    perturbed(hcp(2.6), 0.03, seed=3),
)
"""Crystals that this potential holds together, also where no symmetry does: close packings."""


@pytest.fixture(scope="module")
def potential():
    return LennardJones()


class Counting(LennardJones):
    """Counts the calls and the crystals in each."""

    def __init__(self):
        super().__init__()
        self.sizes = []

    def compute(self, structures, **options):
        self.sizes.append(len(structures))
        return super().compute(structures, **options)


@pytest.mark.parametrize("relax_cell", [True, False])
@pytest.mark.parametrize("keep_symmetry", [True, False])
def test_same_minima_as_one_by_one(potential, relax_cell, keep_symmetry):
    options = {"fmax": 0.005, "relax_cell": relax_cell, "keep_symmetry": keep_symmetry}
    crystals = CRYSTALS if keep_symmetry else CRYSTALS[1:]  # rocksalt is a saddle point
    together = relax_many(crystals, potential, **options)
    for crystal, found in zip(crystals, together, strict=True):
        alone = relax(crystal, potential, **options)
        assert found.result.energy_ev == pytest.approx(alone.result.energy_ev, abs=2e-4)
        assert found.space_group_before == alone.space_group_before
        assert found.space_group_after == alone.space_group_after
        np.testing.assert_allclose(found.structure.lattice, alone.structure.lattice, atol=5e-3)


def test_pressure_is_felt(potential):
    (free,) = relax_many([rocksalt(4.2)], potential, fmax=1e-4)
    (pressed,) = relax_many([rocksalt(4.2)], potential, fmax=1e-4, pressure_gpa=5.0)
    assert pressed.structure.volume < free.structure.volume
    pressure = -np.trace(pressed.result.stress) / 3 * 160.2176634
    assert pressure == pytest.approx(5.0, abs=0.02)


def test_finished_crystals_leave_the_batch():
    potential = Counting()
    found = relax_many(CRYSTALS, potential, batch_size=16)
    assert potential.sizes == sorted(potential.sizes, reverse=True)
    assert potential.sizes[0] == len(CRYSTALS)
    assert potential.sizes[-1] < len(CRYSTALS)
    # no evaluation is spent on a crystal that has ended
    assert sum(potential.sizes) == sum(len(one.steps) for one in found)


def test_a_failure_is_its_own(potential):
    far = Structure(
        lattice=np.eye(3) * 3.0, species=("Bk",), frac_coords=np.zeros((1, 3))
    )  # not covered
    slow = perturbed(fcc(4.4), 0.3)
    ended = {}
    found = relax_many(
        [rocksalt(4.0), far, slow, rocksalt(4.1)],
        potential,
        max_steps=6,
        done=lambda index, outcome: ended.update({index: outcome}),
    )
    assert isinstance(found[1], InvalidInputError)
    assert isinstance(found[2], NanoosError)
    assert found[2].error_code in {"not_converged", "exploded"}
    assert found[0].result.energy_ev == pytest.approx(found[3].result.energy_ev, abs=1e-3)
    assert ended == dict(enumerate(found))


class Fragile(LennardJones):
    """Refuses a batch in which any cell is small, as a network does an atom without neighbours."""

    def compute(self, structures, **options):
        if any(s.species == ("Na", "Cl") for s in structures):
            raise InvalidInputError("no neighbour", code="isolated_atom")
        return super().compute(structures, **options)


def test_what_spoils_a_batch_spoils_itself_only():
    found = relax_many([rocksalt(4.0), rocksalt(5.6, "Na", "Cl"), rocksalt(4.1)], Fragile())
    assert found[1].error_code == "isolated_atom"
    assert found[0].structure.volume == pytest.approx(found[2].structure.volume, rel=1e-3)


def test_progress_may_stop_it(potential):
    class StopError(Exception):
        pass

    def stop(fraction, message):
        assert 0 <= fraction <= 1
        raise StopError(message)

    with pytest.raises(StopError, match="of 5"):
        relax_many(CRYSTALS, potential, progress=stop)


def test_nothing_and_nonsense(potential):
    assert relax_many([], potential) == []
    with pytest.raises(InvalidInputError, match="fmax"):
        relax_many(CRYSTALS, potential, fmax=0.0)


SYMMETRIC = (rocksalt(4.0), wurtzite(3.1, 5.4, 0.39))
COMPOUNDS = (*SYMMETRIC, perturbed(rocksalt(4.2), 0.05))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["CHGNet", "SevenNet"])
def test_universal_potentials_agree_with_one_by_one(name):
    potential = get_potential(name)
    found = relax_many(COMPOUNDS, potential, fmax=0.02)
    for crystal, together in zip(COMPOUNDS, found, strict=True):
        alone = relax(crystal, potential, fmax=0.02)
        difference = together.result.energy_ev_per_atom - alone.result.energy_ev_per_atom
        assert abs(difference) < 1e-3
        if crystal in SYMMETRIC:
            assert together.space_group_after == alone.space_group_after == alone.space_group_before
        else:  # found again, not kept: as near as the forces are to zero
            groups = [space_group_label(one.structure, 0.05) for one in (together, alone)]
            assert groups == ["Fm-3m (225)"] * 2
