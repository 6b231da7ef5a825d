"""The k-point convergence study: SCFs on ever finer meshes, until the energy no longer changes."""

from typing import Final

from nanoos.core.errors import EngineError, InvalidInputError, UnavailableError
from nanoos.engines.espresso.choices import HIGHEST_CONFIDENCE, Choices, predicted_mesh
from nanoos.engines.espresso.input_file import PwTask
from nanoos.engines.espresso.parameters import KpointConvergenceParameters
from nanoos.engines.espresso.plan import Finding, Plan
from nanoos.engines.espresso.stage_run import StageResult
from nanoos.engines.espresso.workflows import gap_of
from nanoos.kpoints import kdist_from_length, length_from_kdist, mesh_of, vacuum_directions
from nanoos.kpoints.studies import (
    CONFIRMING_A,
    ConvergenceStudy,
    MeshEnergy,
    Verdict,
    judge,
    study_lengths,
)
from nanoos.kpoints.study_plot import study_figure_png
from nanoos.structures import Structure

TABLE_FILE: Final = "kpoint_convergence.csv"
PICTURE_FILE: Final = "kpoint_convergence.png"
_COLUMNS: Final = ("length_a", "mesh_1", "mesh_2", "mesh_3", "energy_ev")
_SHORTEST_A: Final = 20.0


def expected_mesh(structure: Structure, choices: Choices, most_a: float) -> tuple[int, int, int]:
    """The finest mesh that a study will likely come to: of the k-point model."""
    return _mesh(structure, _expected_length(choices, most_a))


def refuse_molecules(structure: Structure) -> None:
    """Raise InvalidInputError where one k-point is exact and there is nothing to converge."""
    if all(vacuum_directions(structure)):
        raise InvalidInputError(
            f"{structure.formula} has vacuum in every direction: one k-point is exact.",
            hint="A convergence study is for what repeats in one direction at least.",
            code="nothing_to_converge",
        )


def run_kpoint_convergence(plan: Plan, parameters: KpointConvergenceParameters) -> Finding:
    """Raise the length in steps of 5 Å until the energy is converged and that is confirmed.

    Each mesh begins with the density of the one before; with spins anew, since a moment that
    vanishes on a coarse mesh would not come back on a fine one.

    Raises:
        EngineError: ``kpoints_not_converged``, with the energies so far in its details.
    """
    expected = _expected_length(plan.choices, parameters.max_length_a)
    whole = sum(_points(_mesh(plan.structure, length)) for length in study_lengths(expected))
    energies: list[MeshEnergy] = []
    stages: dict[tuple[int, int, int], StageResult] = {}
    study = None
    for length in study_lengths(parameters.max_length_a):
        mesh = _mesh(plan.structure, length)
        if mesh not in stages:
            name = "mesh-" + "x".join(str(n) for n in mesh)
            share = _points(mesh) / whole
            kept = "density" if stages and not plan.choices.polarised else None
            stages[mesh] = plan.run(name, _on_mesh(plan, mesh), share, take_over=kept)
        energy = stages[mesh].xml.energy_ev
        energies.append(MeshEnergy(length=length, divisions=mesh, energy_ev=energy))
        study = _study(plan, parameters, energies, stages[mesh])
        if study.converged_length is not None:
            return _finding(plan, parameters, study, stages)
    last = [one.energy_ev for one in energies[-2:]]
    raise EngineError(
        f"The energy of the cell still changes by {1e3 * abs(last[-1] - last[0]):.2f} meV at "
        f"{parameters.max_length_a:g} Å.",
        hint="Raise max_length_a; for a metal, a wider degauss_ry converges sooner.",
        details={"lengths_a": [e.length for e in energies], "energies_ev": [e.energy_ev for e in energies]},
        code="kpoints_not_converged",
    )  # fmt: skip


def _finding(
    plan: Plan,
    parameters: KpointConvergenceParameters,
    study: ConvergenceStudy,
    stages: dict[tuple[int, int, int], StageResult],
) -> Finding:
    length = study.converged_length
    assert length is not None  # noqa: S101 - for the type checker
    mesh = _mesh(plan.structure, length)
    final = stages[mesh]
    verdict, unsaid = _verdict(plan, parameters, study)
    rows = [(e.length, *map(float, e.divisions), e.energy_ev) for e in study.energies]
    values = {
        "converged_length_a": length,
        "converged_kdist_per_a": kdist_from_length(length),
        "converged_mesh_points": float(_points(mesh)),
    }
    labels = {
        "converged_mesh": "x".join(str(n) for n in mesh),
        "criterion": f"{1e3 * study.tolerance_ev:g} meV of the cell between successive meshes in "
        f"steps of 5 Å, and over the next {CONFIRMING_A:g} Å",
        "gap_from": "converged mesh " + "x".join(str(n) for n in mesh),
    }
    warnings = [unsaid] if unsaid else []
    if verdict is not None:
        values |= {
            "predicted_length_a": length_from_kdist(verdict.prediction.kdist),
            "predicted_kdist_lower_per_a": verdict.prediction.kdist_lower,
            "predicted_kdist_upper_per_a": verdict.prediction.kdist_upper,
            "prediction_holds": float(verdict.within),
            "predicted_mesh_fine_enough": float(verdict.fine_enough),
            "predicted_points_over_needed": verdict.extra_points,
        }
        labels["prediction"] = verdict.sentence()
    pictures = {}
    try:
        pictures[PICTURE_FILE] = study_figure_png(study, verdict)
    except UnavailableError as error:
        warnings.append(error.message)
    return Finding(
        final=final,
        stages=tuple(stages.values()),
        gap=gap_of(final),
        values=values,
        series=dict(zip(_COLUMNS, zip(*rows, strict=True), strict=True)),
        labels=labels,
        warnings=tuple(warnings),
        tables={TABLE_FILE: (_COLUMNS, rows)},
        pictures=pictures,
    )


def _verdict(
    plan: Plan, parameters: KpointConvergenceParameters, study: ConvergenceStudy
) -> tuple[Verdict | None, str]:
    """How the shipped model did, and why it cannot be said."""
    reasons: dict[str, str] = {}
    level = parameters.kpoint_confidence or HIGHEST_CONFIDENCE
    prediction = predicted_mesh(plan.structure, level, reasons)
    return (None, reasons["mesh"]) if prediction is None else (judge(study, prediction), "")


def _study(
    plan: Plan,
    parameters: KpointConvergenceParameters,
    energies: list[MeshEnergy],
    last: StageResult,
) -> ConvergenceStudy:
    choices = plan.choices
    smeared = f"{choices.smearing} {choices.degauss_ry:g} Ry" if choices.smearing else "fixed"
    return ConvergenceStudy(
        structure=plan.structure,
        energies=tuple(energies),
        tolerance_ev=parameters.tolerance_ev,
        code=f"pw.x {last.xml.version}, {parameters.family}, {choices.ecutwfc_ry:g} Ry, {smeared}",
    )


def _expected_length(choices: Choices, most_a: float) -> float:
    likely = _SHORTEST_A if choices.kdist is None else length_from_kdist(choices.kdist)
    return min(most_a, max(_SHORTEST_A, likely) + CONFIRMING_A)


def _mesh(structure: Structure, length: float) -> tuple[int, int, int]:
    return mesh_of(structure, kdist_from_length(length)).divisions


def _points(mesh: tuple[int, int, int]) -> int:
    return mesh[0] * mesh[1] * mesh[2]


def _on_mesh(plan: Plan, mesh: tuple[int, int, int]) -> PwTask:
    task = plan.task
    return PwTask(
        calculation="scf",
        structure=task.structure,
        choices=task.choices,
        pseudos=task.pseudos,
        pseudo_dir=task.pseudo_dir,
        outdir=task.outdir,
        mesh=mesh,
        settings=task.settings,
    )
