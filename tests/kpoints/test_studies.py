"""What a convergence study found, and that it is kept."""

from dataclasses import replace

import pytest

from nanoos.core.errors import InvalidInputError
from nanoos.kpoints import KpointPrediction, kdist_from_length, mesh_of
from nanoos.kpoints.studies import (
    ConvergenceStudy,
    MeshEnergy,
    StudyFile,
    converged_length,
    judge,
    study_lengths,
)
from nanoos.kpoints.study_plot import study_figure_png
from nanoos.testing.crystals import rocksalt


def series(*energies: float) -> tuple[MeshEnergy, ...]:
    return tuple(
        MeshEnergy(length=5.0 * (i + 1), divisions=(i + 1,) * 3, energy_ev=energy)
        for i, energy in enumerate(energies)
    )


SETTLED = (-10.5,) * 5


@pytest.mark.parametrize(
    ("energies", "length"),
    [
        ((-10.0, -10.5, -10.5004, *SETTLED), 15.0),
        ((-10.0, -10.0, *SETTLED, *SETTLED), 20.0),
        ((-10.0, -10.5, -10.2, -10.3, -10.3, *((-10.3,) * 5)), 25.0),
        ((-10.0, -10.5, -10.4992, -10.4985, -10.4978, -10.4978, *((-10.4978,) * 5)), 20.0),
        ((-10.0, -10.5, -10.5, -10.5, -10.5, -10.5, -10.5), None),
        ((-10.0, -10.1, -10.2, -10.3, -10.4, -10.5, -10.6, -10.7, -10.8), None),
        ((-10.0,), None),
        ((), None),
    ],
    ids=["settles", "a plateau left", "swings", "creeps", "unconfirmed", "drifts", "one", "none"],
)
def test_the_converged_length(energies, length):
    assert converged_length(series(*energies), 0.001) == length


def test_lengths_with_the_same_mesh_confirm_nothing():
    same = tuple(
        MeshEnergy(length=length, divisions=(2, 2, 2), energy_ev=-1.0)
        for length in study_lengths(50.0)
    )
    assert converged_length(same, 0.001) is None


def test_a_study_tries_steps_of_five():
    assert list(study_lengths(20.0)) == [5.0, 10.0, 15.0, 20.0]


def study(*energies: float) -> ConvergenceStudy:
    return ConvergenceStudy(
        structure=rocksalt(), energies=series(*energies), tolerance_ev=0.001, code="test"
    )


def test_studies_are_kept_and_a_torn_line_is_left_out(tmp_path):
    store = StudyFile(tmp_path / "new" / "studies.jsonl")
    assert list(store) == []
    store.add(study(-1.0, *(-2.0,) * 7))
    store.add(study(-1.0, -2.0))
    with store.path.open("a") as file:
        file.write('{"format": 1, "struc')
    store.add(study(-3.0))
    first, second, third = store
    assert third.energies == series(-3.0)
    assert first.structure == rocksalt()
    assert first.energies == series(-1.0, *(-2.0,) * 7)
    assert first.created
    assert second.converged_length is None
    store.add(replace(first, tolerance_ev=0.1))
    assert [(one.structure, one.converged_length) for one in store.labelled()] == [
        (rocksalt(), 15.0)
    ], "labels of another tolerance mean another thing"


def test_meshes_go_from_coarse_to_fine():
    with pytest.raises(InvalidInputError):
        ConvergenceStudy(
            structure=rocksalt(), energies=series(-1.0, -2.0)[::-1], tolerance_ev=0.1, code="test"
        )


def predicted(shortest: float, middle: float, longest: float) -> KpointPrediction:
    """Of the crystal of :func:`study`; a long length is a small spacing."""
    lower, median, upper = (kdist_from_length(x) for x in (longest, middle, shortest))
    return KpointPrediction(
        model="RF",
        version="1",
        weights_sha256=None,
        level=0.9,
        interval_level=0.9,
        kdist=median,
        kdist_lower=lower,
        kdist_upper=upper,
        mesh=mesh_of(rocksalt(), lower),
        mesh_median=mesh_of(rocksalt(), median),
        coverage=None,
        out_of_domain=False,
        reasons=(),
        criterion="",
    )


def calculated() -> ConvergenceStudy:
    """Converged at 15 Å, with the meshes of its structure."""
    energies = tuple(
        MeshEnergy(
            length=length,
            divisions=mesh_of(rocksalt(), kdist_from_length(length)).divisions,
            energy_ev=-1.0 if length < 10 else -2.0,
        )
        for length in study_lengths(40.0)
    )
    return replace(study(), energies=energies)


@pytest.mark.parametrize(
    ("interval", "within", "fine_enough"),
    [((10, 15, 30), True, True), ((15, 15, 15), True, True), ((20, 25, 30), False, True),
     ((5, 5, 10), False, False)],
    ids=["holds", "exactly", "too careful", "too coarse"],
)  # fmt: skip
def test_a_prediction_is_judged(interval, within, fine_enough):
    verdict = judge(calculated(), predicted(*interval))
    assert (verdict.within, verdict.fine_enough) == (within, fine_enough)
    assert verdict.length_error_a == pytest.approx(interval[1] - 15)
    assert (verdict.extra_points >= 1) == fine_enough
    assert ("lies in" in verdict.sentence()) == within
    assert judge(study(-1.0), predicted(5, 5, 10)) is None


def test_the_picture_is_one():
    found = calculated()
    assert study_figure_png(found, judge(found, predicted(10, 15, 30))).startswith(b"\x89PNG")
