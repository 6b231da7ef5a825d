"""What a convergence study found, and that it is kept."""

import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints.studies import ConvergenceStudy, MeshEnergy, StudyFile, converged_length
from nanoos.testing.crystals import rocksalt


def series(*energies: float) -> tuple[MeshEnergy, ...]:
    return tuple(
        MeshEnergy(length=10.0 + 5 * i, divisions=(i + 1,) * 3, energy_ev=energy)
        for i, energy in enumerate(energies)
    )


@pytest.mark.parametrize(
    ("energies", "length"),
    [
        ((-10.0, -10.5, -10.5004, -10.5006, -10.5), 15.0),
        ((-10.0, -10.5, -10.2, -10.3, -10.3, -10.3), 25.0),
        ((-10.0, -10.0, -10.5, -10.5, -10.5), 20.0),
        ((-10.0, -10.5, -10.5), None),
        ((-10.0, -10.1, -10.2, -10.3), None),
        ((-10.0,), None),
        ((), None),
    ],
    ids=["settles", "swings", "a plateau that is left", "unconfirmed", "drifts", "one", "none"],
)
def test_the_converged_length(energies, length):
    assert converged_length(series(*energies), 0.001) == length


def test_lengths_with_the_same_mesh_confirm_nothing():
    same = tuple(
        MeshEnergy(length=length, divisions=(2, 2, 2), energy_ev=-1.0)
        for length in (10.0, 15.0, 20.0)
    )
    assert converged_length(same, 0.001) is None


def study(*energies: float) -> ConvergenceStudy:
    return ConvergenceStudy(
        structure=rocksalt(), energies=series(*energies), tolerance_ev=0.001, code="test"
    )


def test_studies_are_kept_and_a_torn_line_is_left_out(tmp_path):
    store = StudyFile(tmp_path / "new" / "studies.jsonl")
    assert list(store) == []
    store.add(study(-1.0, -2.0, -2.0, -2.0))
    store.add(study(-1.0, -2.0))
    with store.path.open("a") as file:
        file.write('{"format": 1, "struc')
    store.add(study(-3.0))
    first, second, third = store
    assert third.energies == series(-3.0)
    assert first.structure == rocksalt()
    assert first.energies == series(-1.0, -2.0, -2.0, -2.0)
    assert first.created
    assert second.converged_length is None
    assert store.labelled() == [(rocksalt(), 15.0)]


def test_meshes_go_from_coarse_to_fine():
    with pytest.raises(InvalidInputError):
        ConvergenceStudy(
            structure=rocksalt(), energies=series(-1.0, -2.0)[::-1], tolerance_ev=0.1, code="test"
        )
