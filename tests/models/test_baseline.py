"""The forest learns, answers through the interface of models, and survives its file."""

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.core.records import LevelOfTheory
from nanoos.models.baseline import (
    ForestTarget,
    RandomForest,
    baseline_errors,
    structure_descriptors,
)
from nanoos.structures import Structure
from nanoos.structures.elements import ELECTRONEGATIVITY

ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Ti", "Fe", "Ni", "Cu", "Zn", "Al", "Si")
LEVEL = LevelOfTheory(functional="PBE", corrections="none", reference="none")


def crystals(n: int, seed: int) -> tuple[list[Structure], np.ndarray]:
    """CsCl crystals of two elements, and a number that a forest can learn."""
    rng = np.random.default_rng(seed)
    found, numbers = [], []
    for _ in range(n):
        pair = tuple(rng.choice(ELEMENTS, 2, replace=False))
        length = rng.uniform(2.8, 4.0)
        found.append(
            Structure(lattice=length * np.eye(3), species=pair, frac_coords=[[0, 0, 0], [0.5] * 3])
        )
        contrast = abs(ELECTRONEGATIVITY[pair[0]] - ELECTRONEGATIVITY[pair[1]])
        numbers.append(contrast + 0.5 * length)
    return found, np.array(numbers)


def test_descriptors_do_not_depend_on_the_order_of_axes_and_sites():
    lattice = np.diag([3.0, 4.0, 5.0])
    places = np.array([[0, 0, 0], [0.5, 0.4, 0.3]])
    first = Structure(lattice=lattice, species=("Na", "Cl"), frac_coords=places)
    swapped = Structure(
        lattice=lattice[::-1, ::-1], species=("Cl", "Na"), frac_coords=places[::-1, ::-1]
    )
    table = structure_descriptors([first, swapped])
    assert table.values[0] == pytest.approx(table.values[1], rel=1e-5)
    assert len(table.names) == table.values.shape[1]
    assert len(set(table.names)) == len(table.names)
    assert table.values[0, table.names.index("volume_per_atom_a3")] == pytest.approx(30)


def test_the_forest_beats_the_mean_and_says_how_sure_that_is():
    train, train_labels = crystals(250, 0)
    test, test_labels = crystals(80, 1)
    train_labels[:20] = np.nan
    found = baseline_errors(
        structure_descriptors(train),
        {"bandgap": train_labels, "only_here": train_labels},
        structure_descriptors(test),
        {"bandgap": test_labels},
        formulas=[s.formula for s in test],
        n_trees=30,
    )
    error = found.pop("bandgap")
    assert not found
    assert error.mae < 0.5 * np.abs(test_labels - np.nanmean(train_labels)).mean()
    assert error.mae_interval[0] < error.mae < error.mae_interval[1]
    assert (error.n_train, error.n_test) == (230, 80)


def test_a_trained_forest_predicts_through_the_interface_and_survives_its_file(tmp_path):
    structures, labels = crystals(60, 0)
    targets = {
        "bandgap": ForestTarget(unit="eV", level_of_theory=LEVEL),
        "is_metal": ForestTarget(unit="1"),
    }
    model = RandomForest.train(
        structures, {"bandgap": labels, "is_metal": labels > 2}, targets, n_trees=10
    )
    assert model.info().available
    path = tmp_path / "forest.safetensors"
    digest = model.save(path)
    again = RandomForest.load(path)
    assert again.info().weights_sha256 == digest
    assert again.targets == targets
    first, second = model.predict(structures[:3])[1], again.predict(structures[:3])[1]
    assert first.properties == second.properties
    value = second.properties["bandgap"]
    assert value.level_of_theory == LEVEL
    assert (value.sigma, value.confidence, dict(value.quantiles)) == (None, None, {})
    assert 0 <= second.properties["is_metal"].value <= 1
    assert again.predict([]) == []


def test_an_untrained_forest_is_not_available_and_a_foreign_file_is_refused(tmp_path):
    model = RandomForest()
    assert not model.info().available
    structures, labels = crystals(5, 0)
    with pytest.raises(UnavailableError):
        model.predict(structures)
    with pytest.raises(InvalidInputError, match="too few"):
        RandomForest.train(structures, {"bandgap": labels}, {"bandgap": ForestTarget(unit="eV")})
    with pytest.raises(InvalidInputError, match="unit"):
        RandomForest({}, {"bandgap": ForestTarget(unit="eV")})
    path = tmp_path / "x.safetensors"
    path.write_bytes(b"not a file of arrays")
    with pytest.raises(InvalidInputError, match=r"x\.safetensors"):
        RandomForest.load(path)
