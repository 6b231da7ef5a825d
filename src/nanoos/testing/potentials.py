"""What every potential must do."""

from typing import ClassVar

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.potentials import POTENTIALS, Potential, PotentialResult, get_potential
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt, wurtzite

_STENCIL = (-2, -1, 1, 2)
_WEIGHTS = np.array([1, -8, 8, -1]) / 12
"""Fourth-order central difference: the error of the second-order one would hide mistakes."""


class PotentialContract:
    """Inherit and set ``name``; loosen a tolerance only with a reason beside it.

    The default tolerances are those of a network in single precision, whose total energies
    of some ten eV carry noise of about 1e-6 eV.
    """

    name: ClassVar[str]
    uncovered_element: ClassVar[str] = "Rn"
    force_tolerance_ev_a: ClassVar[float] = 5e-3
    stress_tolerance_ev_a3: ClassVar[float] = 2e-4
    energy_tolerance_ev_per_atom: ClassVar[float] = 1e-5

    @pytest.fixture(scope="class")
    @classmethod
    def potential(cls) -> Potential:
        """The potential under test."""
        return get_potential(cls.name)

    @pytest.fixture(scope="class")
    @classmethod
    def crystal(cls) -> Structure:
        """Four atoms with a force on each."""
        return perturbed(wurtzite())

    @pytest.fixture(scope="class")
    @classmethod
    def result(cls, potential: Potential, crystal: Structure) -> PotentialResult:
        """What the potential says of it."""
        return potential.compute([crystal])[0]

    def test_says_what_it_is(self, potential: Potential) -> None:
        assert isinstance(potential, Potential)
        assert potential.name == POTENTIALS.canonical_name(self.name)
        assert potential.version
        assert potential.weights_sha256 is None or len(potential.weights_sha256) == 64
        assert {"O", "Si", "Fe"} <= potential.elements
        assert potential.level_of_theory.functional
        assert potential.level_of_theory.corrections
        assert all(potential.software.values())

    def test_is_loaded_once(self, potential: Potential) -> None:
        assert get_potential(self.name.upper()) is potential

    def test_shapes_and_kinds(self, result: PotentialResult, potential: Potential) -> None:
        assert result.forces.shape == (4, 3)
        assert result.stress is not None
        assert result.stress.shape == (3, 3)
        assert np.allclose(result.stress, result.stress.T, atol=1e-7)
        assert result.energy_ev == pytest.approx(4 * result.energy_ev_per_atom)
        if potential.provides_magmoms:
            assert result.magmoms is not None
            assert result.magmoms.shape == (4,)
        else:
            assert result.magmoms is None

    def test_stress_only_on_request(self, potential: Potential, crystal: Structure) -> None:
        assert potential.compute([crystal], stress=False)[0].stress is None

    def test_energies_alone_agree(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        assert potential.energies([crystal])[0] == pytest.approx(
            result.energy_ev, abs=4 * self.energy_tolerance_ev_per_atom
        )

    def test_force_is_minus_the_gradient(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        step = 0.005
        moves = [(0, 0), (1, 1), (2, 2), (3, 0)]
        energies = potential.energies(
            [_moved(crystal, *m, s * step) for m in moves for s in _STENCIL]
        )
        slopes = energies.reshape(-1, 4) @ _WEIGHTS / step
        forces = np.array([result.forces[m] for m in moves])
        np.testing.assert_allclose(forces, -slopes, atol=self.force_tolerance_ev_a)
        assert np.abs(forces).max() > 10 * self.force_tolerance_ev_a

    def test_forces_sum_to_zero(self, result: PotentialResult) -> None:
        np.testing.assert_allclose(result.forces.sum(axis=0), 0, atol=1e-4)

    def test_stress_is_the_strain_derivative(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        step = 2e-3
        strains = [(0, 0), (1, 1), (2, 2), (0, 1), (1, 2), (0, 2)]
        energies = potential.energies(
            [_strained(crystal, *m, s * step) for m in strains for s in _STENCIL]
        )
        slopes = energies.reshape(-1, 4) @ _WEIGHTS / step / crystal.volume
        assert result.stress is not None
        stress = np.array([result.stress[m] for m in strains])
        np.testing.assert_allclose(stress, slopes, atol=self.stress_tolerance_ev_a3)
        assert np.abs(stress).max() > 10 * self.stress_tolerance_ev_a3

    def test_stretched_crystal_is_under_tension(self, potential: Potential) -> None:
        stretched = rocksalt()
        stretched = stretched.scaled_to_volume(1.25 * stretched.volume)
        stress = potential.compute([stretched])[0].stress
        assert stress is not None
        assert np.trace(stress) > 0

    def test_rotation_turns_forces_and_stress(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        turn = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
        turned = potential.compute([crystal.with_lattice(crystal.lattice @ turn.T)])[0]
        self._same_energy(turned, result)
        np.testing.assert_allclose(turned.forces, result.forces @ turn.T, atol=1e-4)
        assert turned.stress is not None
        assert result.stress is not None
        np.testing.assert_allclose(turned.stress, turn @ result.stress @ turn.T, atol=1e-5)

    def test_left_handed_cell_is_the_same_crystal(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        order = [1, 0, 2]
        mirrored = Structure(
            lattice=crystal.lattice[order],
            species=crystal.species,
            frac_coords=crystal.frac_coords[:, order],
        )
        other = potential.compute([mirrored])[0]
        self._same_energy(other, result)
        assert other.stress is not None
        assert result.stress is not None
        np.testing.assert_allclose(other.stress, result.stress, atol=1e-5)

    def test_order_of_atoms_does_not_matter(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        order = [2, 0, 3, 1]
        shuffled = Structure(
            lattice=crystal.lattice,
            species=tuple(crystal.species[i] for i in order),
            frac_coords=crystal.frac_coords[order],
        )
        other = potential.compute([shuffled])[0]
        self._same_energy(other, result)
        np.testing.assert_allclose(other.forces, result.forces[order], atol=1e-4)

    def test_origin_and_wrapping_do_not_matter(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        shifted = Structure(
            lattice=crystal.lattice,
            species=crystal.species,
            frac_coords=crystal.frac_coords + np.array([1.3, -0.7, 2.1]),
        )
        other = potential.compute([shifted])[0]
        self._same_energy(other, result)
        np.testing.assert_allclose(other.forces, result.forces, atol=1e-4)

    def test_supercell_has_the_same_energy_per_atom(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        doubled = Structure(
            lattice=crystal.lattice * [[2], [1], [1]],
            species=crystal.species * 2,
            frac_coords=np.vstack([crystal.frac_coords, crystal.frac_coords + np.array([1, 0, 0])])
            / [2, 1, 1],
        )
        self._same_energy(potential.compute([doubled])[0], result)

    def test_batch_equals_one_by_one(self, potential: Potential, crystal: Structure) -> None:
        many = [rocksalt(), crystal, rocksalt(4.6), perturbed(rocksalt(5.0, "Na", "Cl"))]
        together = potential.compute(many, batch_size=3)
        for structure, batched in zip(many, together, strict=True):
            (alone,) = potential.compute([structure])
            self._same_energy(batched, alone)
            np.testing.assert_allclose(batched.forces, alone.forces, atol=1e-4)
            assert batched.stress is not None
            assert alone.stress is not None
            np.testing.assert_allclose(batched.stress, alone.stress, atol=1e-5)

    def test_nothing_asked_nothing_answered(self, potential: Potential) -> None:
        assert potential.compute([]) == []
        assert potential.energies([]).shape == (0,)

    def test_uncovered_element_is_refused_by_name(self, potential: Potential) -> None:
        if self.uncovered_element in potential.elements:
            pytest.fail(f"choose an uncovered_element: {self.uncovered_element} is covered")
        with pytest.raises(InvalidInputError, match=self.uncovered_element) as caught:
            potential.compute([rocksalt(5.0, self.uncovered_element, "O")])
        assert caught.value.error_code == "uncovered_element"
        assert caught.value.hint

    def test_ase_calculator_agrees(
        self, potential: Potential, crystal: Structure, result: PotentialResult
    ) -> None:
        atoms = crystal.to_ase()
        atoms.calc = potential.ase_calculator()
        assert atoms.get_potential_energy() == pytest.approx(result.energy_ev, abs=1e-4)
        np.testing.assert_allclose(atoms.get_forces(), result.forces, atol=1e-4)
        assert result.stress is not None
        np.testing.assert_allclose(atoms.get_stress(voigt=False), result.stress, atol=1e-5)

    def _same_energy(self, one: PotentialResult, other: PotentialResult) -> None:
        assert one.energy_ev_per_atom == pytest.approx(
            other.energy_ev_per_atom, abs=self.energy_tolerance_ev_per_atom
        )


def _moved(structure: Structure, site: int, axis: int, step_a: float) -> Structure:
    shift = np.zeros((structure.n_sites, 3))
    shift[site, axis] = step_a
    return Structure(
        lattice=structure.lattice,
        species=structure.species,
        frac_coords=structure.frac_coords + shift @ np.linalg.inv(structure.lattice),
    )


def _strained(structure: Structure, i: int, j: int, amount: float) -> Structure:
    strain = np.eye(3)
    strain[i, j] += amount / 2
    strain[j, i] += amount / 2
    return structure.with_lattice(structure.lattice @ strain)
