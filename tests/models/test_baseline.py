"""The forest that cards are beside learns; the one that predicts is that of checkpoints."""

import numpy as np
import pytest

from nanoos.core.errors import InvalidInputError, UnavailableError
from nanoos.models import get_model
from nanoos.models.baseline import baseline_errors, fit_forest, structure_descriptors
from nanoos.models.forest_model import TrainedForestModel
from nanoos.structures import Structure
from nanoos.structures.elements import ELECTRONEGATIVITY

ELEMENTS = ("Li", "Na", "K", "Mg", "Ca", "Ti", "Fe", "Ni", "Cu", "Zn", "Al", "Si")


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


def test_few_labels_grow_no_forest():
    structures, labels = crystals(5, 0)
    with pytest.raises(InvalidInputError, match="too few"):
        fit_forest(structure_descriptors(structures).values, labels)


def test_the_forest_of_the_registry_is_the_one_that_train_makes():
    model = get_model("RandomForest")
    assert isinstance(model, TrainedForestModel)
    info = model.info()
    assert (info.available, info.supported_properties) == (False, ())
    assert "nanoos train" in info.install_command
    with pytest.raises(UnavailableError, match="RandomForest"):
        model.predict(crystals(1, 0)[0])
