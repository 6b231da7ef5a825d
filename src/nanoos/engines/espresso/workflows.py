"""The workflows: which stages, and what is made of them."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np

from nanoos.core.errors import EngineError
from nanoos.core.units import BOHR_A, GPA_PER_EV_A3, RYDBERG_EV
from nanoos.engines.espresso.dos import density_of_states
from nanoos.engines.espresso.gap import BandGap, band_gap, is_folded
from nanoos.engines.espresso.input_file import PwTask, Value, fft_grid
from nanoos.engines.espresso.parameters import (
    BandsParameters,
    DosParameters,
    EquationOfStateParameters,
    EspressoParameters,
    NscfParameters,
    RelaxParameters,
    VcRelaxParameters,
)
from nanoos.engines.espresso.paths import label_of, labelled, path_points
from nanoos.engines.espresso.pictures import bands_picture, dos_picture
from nanoos.engines.espresso.plan import Finding, Plan
from nanoos.engines.espresso.stage_run import StageResult
from nanoos.engines.mlip.birch_murnaghan import fit_birch_murnaghan, fit_picture
from nanoos.engines.mlip.freedom import symmetry_freedom
from nanoos.kpoints.mesh import mesh_of, vacuum_directions
from nanoos.structures import Structure
from nanoos.structures.symmetry import analyze_symmetry

_RECENTRE: Final = 0.4
_BAND_THRESHOLD_RY: Final = 1e-8
"""pw.x converges eigenvalues at given density to a tenth of this."""
KBAR_PER_EV_A3: Final = 10 * GPA_PER_EV_A3


def run_scf(plan: Plan, parameters: EspressoParameters) -> Finding:
    """Energy, forces, stress and the gap on the mesh."""
    del parameters
    scf = plan.run("scf", plan.task, 1.0)
    return Finding(
        final=scf, stages=(scf,), gap=gap_of(scf), labels={"gap_from": _mesh_words(plan)}
    )


def run_relax(plan: Plan, parameters: RelaxParameters) -> Finding:
    """The atoms to their minimum."""
    stage = plan.run(
        "relax",
        relaxing(plan.task, parameters, "relax"),
        1.0,
        max_continuations=parameters.max_continuations,
    )
    return _relaxed(plan, stage)


def run_vc_relax(plan: Plan, parameters: VcRelaxParameters) -> Finding:
    """Atoms and cell to their minimum."""
    pressure = parameters.pressure_gpa / GPA_PER_EV_A3
    tolerance = parameters.pressure_tolerance_gpa / GPA_PER_EV_A3
    task = relaxing(plan.task, parameters, "vc-relax").with_settings(
        {
            "cell": {
                "press": pressure * KBAR_PER_EV_A3,
                "press_conv_thr": tolerance * KBAR_PER_EV_A3,
                "cell_dofree": parameters.cell_freedom,
            }
        }
    )
    target = (pressure, tolerance) if parameters.cell_freedom in {"all", "volume"} else None
    stage = plan.run(
        "vc-relax",
        task,
        1.0,
        max_continuations=parameters.max_continuations,
        stress_target=target,
    )
    found = _relaxed(plan, stage)
    values = {"volume_change": stage.structure.volume / plan.structure.volume - 1}
    if parameters.pressure_gpa:
        n = plan.structure.n_sites
        values["enthalpy_ev_per_atom"] = (
            stage.xml.energy_ev + pressure * stage.structure.volume
        ) / n
    return _with(found, values=values)


def run_nscf(plan: Plan, parameters: NscfParameters | DosParameters) -> Finding:
    """The gap on a dense mesh."""
    scf = plan.run("scf", plan.task, 0.6, keep_density=True)
    mesh = dense_mesh(plan, parameters.dense_kdist)
    nscf = plan.run("nscf", _bandwise(plan, "nscf", mesh=mesh), 0.4)
    on_dense = band_gap(nscf.xml.bands, nscf.xml.n_electrons, scf.xml.total_magnetization)
    words = "x".join(str(n) for n in mesh)
    gap, where = _narrower((on_dense, f"dense mesh {words}"), (gap_of(scf), _mesh_words(plan)))
    return Finding(
        final=scf,
        stages=(scf, nscf),
        gap=gap,
        labels={"gap_from": where, "dense_mesh": words},
        values={} if nscf.xml.fermi_ev is None else {"fermi_level_ev": nscf.xml.fermi_ev},
    )


def run_dos(plan: Plan, parameters: DosParameters) -> Finding:
    """The density of states."""
    found = run_nscf(plan, parameters)
    nscf = found.stages[-1]
    dos = density_of_states(
        nscf.xml.bands, width_ev=parameters.dos_width_ev, step_ev=parameters.dos_step_ev
    )
    names = ("dos_per_ev",) if len(dos.states) == 1 else ("dos_up_per_ev", "dos_down_per_ev")
    series = {"energy_ev": tuple(dos.energies_ev.tolist())}
    series |= {name: tuple(row.tolist()) for name, row in zip(names, dos.states, strict=True)}
    fermi = nscf.xml.fermi_ev
    values = dict(found.values)
    if fermi is not None:
        values["dos_at_fermi_level_per_ev"] = dos.at(fermi)
    return _with(
        found,
        values=values,
        series=series,
        tables={"dos.csv": (("energy_ev", *names), zip(*series.values(), strict=True))},
        pictures={"dos.svg": dos_picture(dos, found.gap, fermi)},
    )


def run_bands(plan: Plan, parameters: BandsParameters) -> Finding:
    """Bands along a path; the gap on path and mesh together."""
    path = path_points(plan.structure, parameters.path, parameters.band_points)
    scf = plan.run("scf", plan.task, 0.6, keep_density=True)
    stage = plan.run("bands", _bandwise(plan, "bands", kpoints=path.kpoints), 0.4)
    magnetization = scf.xml.total_magnetization
    on_path = band_gap(stage.xml.bands, stage.xml.n_electrons, magnetization)
    gap, where = _narrower((on_path, "path"), (gap_of(scf), "SCF mesh"))
    labels = {"path": path.name, "gap_from": f"{where} ({path.name}; {_mesh_words(plan)})"}
    told = gap is not None and not is_folded(plan.structure, plan.choices.site_species)
    if told and gap is not None and gap.valence_k is not None and gap.conduction_k is not None:
        labels["valence_top_at"] = label_of(gap.valence_k, path)
        labels["conduction_bottom_at"] = label_of(gap.conduction_k, path)
    energies = stage.xml.bands.energies_ev
    header = (
        "distance_per_a",
        "label",
        *(f"band{b + 1}_spin{s + 1}_ev" for s in range(len(energies)) for b in range(energies.shape[2])),
    )  # fmt: skip
    flat = energies.swapaxes(0, 1).reshape(len(path.kpoints), -1)
    rows = [
        (float(x), text, *values)
        for x, text, values in zip(path.distances, labelled(path), flat.tolist(), strict=True)
    ]
    return Finding(
        final=scf,
        stages=(scf, stage),
        gap=gap,
        labels=labels,
        series={"path_distance_per_a": tuple(float(x) for x in path.distances)},
        tables={"bands.csv": (header, rows)},
        pictures={"bands.svg": bands_picture(path, stage.xml.bands, gap, scf.xml.fermi_ev)},
    )


def run_equation_of_state(plan: Plan, parameters: EquationOfStateParameters) -> Finding:
    """Energy against volume; the crystal at the minimum is computed once more.

    All volumes have the FFT grid of the largest: pw.x would take a finer one from some volume on, and
    the energy steps there by a tenth of a meV for each atom (Na2O at 96 Ry). Each SCF begins with the
    wavefunctions of the volume before; with spins it begins anew, since moments that vanish at a
    small volume would not come back at a large one.
    """
    free = parameters.relax_atoms and symmetry_freedom(plan.structure).positions
    share = 1.0 / (parameters.eos_points + 1)
    kept = None if plan.choices.polarised else "wavefunctions"

    def energy_at(name: str, structure: Structure, grid: Mapping[str, int]) -> StageResult:
        task = PwTask(
            calculation="scf",
            structure=structure,
            choices=plan.choices,
            pseudos=plan.task.pseudos,
            pseudo_dir=plan.task.pseudo_dir,
            outdir=plan.task.outdir,
            settings=plan.task.settings,
        ).with_settings({"system": grid})
        if not free:
            return plan.run(name, task, share, take_over=kept)
        return plan.run(
            name,
            relaxing(task, parameters, "relax"),
            share,
            max_continuations=parameters.max_continuations,
        )

    centre, extended = plan.structure, False
    ratios = np.linspace(
        1 - parameters.eos_strain, 1 + parameters.eos_strain, parameters.eos_points
    )
    for turn in range(2):
        prefix = "eos" if turn == 0 else "eos-moved"
        cells = [centre.scaled_to_volume(centre.volume * float(ratio)) for ratio in ratios]
        grid = fft_grid(cells[-1], plan.choices)
        stages = [energy_at(f"{prefix}-v{i}", cell, grid) for i, cell in enumerate(cells, 1)]
        volumes = np.array([s.structure.volume for s in stages]) / centre.n_sites
        energies = np.array([s.xml.energy_ev for s in stages]) / centre.n_sites
        last = turn == 1 or not parameters.eos_recentre
        try:
            fit = fit_birch_murnaghan(volumes, energies)
        except EngineError:
            if last:
                raise
            lowest = stages[int(energies.argmin())].structure
            centre, extended = lowest, True
            continue
        drift = abs(fit.volume_a3 * centre.n_sites / centre.volume - 1)
        if last or drift < _RECENTRE * parameters.eos_strain:
            break
        centre, extended = centre.scaled_to_volume(fit.volume_a3 * centre.n_sites), True
    nearest = stages[int(np.abs(volumes - fit.volume_a3).argmin())].structure
    lowest_cell = nearest.scaled_to_volume(fit.volume_a3 * nearest.n_sites)
    final = energy_at("eos-minimum", lowest_cell, grid)
    fitted = tuple(fit.energy_at(volumes).tolist())
    series = {
        "volume_a3_per_atom": tuple(volumes.tolist()),
        "energy_ev_per_atom": tuple(energies.tolist()),
        "fitted_energy_ev_per_atom": fitted,
    }
    warnings = []
    if extended:
        warnings.append("The range of volumes was moved once to hold the minimum.")
    if fit.rmse_ev > 2e-3:  # noqa: PLR2004
        warnings.append(f"The fit is poor: RMSE {1e3 * fit.rmse_ev:.2f} meV/atom.")
    if symmetry_freedom(plan.structure).shape:
        warnings.append("The shape of the cell was kept: relax it first for the true curve.")
    return Finding(
        final=final,
        stages=(*stages, final),
        gap=gap_of(final),
        values={
            "bulk_modulus_gpa": fit.bulk_modulus_gpa,
            "bulk_modulus_derivative": fit.bulk_modulus_derivative,
            "equilibrium_volume_a3_per_atom": fit.volume_a3,
            "fitted_energy_ev_per_atom": fit.energy_ev,
            "fit_rmse_ev_per_atom": fit.rmse_ev,
            "fit_r2": fit.r2,
        },
        series=series,
        labels={"gap_from": _mesh_words(plan)},
        warnings=tuple(warnings),
        tables={"eos.csv": (tuple(series), zip(*series.values(), strict=True))},
        pictures={"eos.svg": fit_picture(fit, volumes, energies).encode()},
    )


WORKFLOWS: Final[dict[str, Callable[[Plan, Any], Finding]]] = {
    "scf": run_scf,
    "relax": run_relax,
    "vc_relax": run_vc_relax,
    "nscf": run_nscf,
    "bands": run_bands,
    "dos": run_dos,
    "equation_of_state": run_equation_of_state,
}


def relaxing(
    task: PwTask,
    parameters: RelaxParameters | VcRelaxParameters | EquationOfStateParameters,
    calculation: str,
) -> PwTask:
    """The task of a relaxation with its thresholds."""
    n = task.structure.n_sites
    control: dict[str, Value] = {
        "nstep": parameters.max_steps,
        "forc_conv_thr": parameters.fmax * BOHR_A / RYDBERG_EV,
        "etot_conv_thr": n * parameters.energy_tolerance_ev / RYDBERG_EV,
    }
    changed = task.with_settings({"control": control, "ions": {"ion_dynamics": "bfgs"}})
    return PwTask(
        calculation=calculation,
        structure=changed.structure,
        choices=changed.choices,
        pseudos=changed.pseudos,
        pseudo_dir=changed.pseudo_dir,
        outdir=changed.outdir,
        settings=changed.settings,
    )


def dense_mesh(plan: Plan, kdist: float | None) -> tuple[int, int, int]:
    """The mesh of an nscf: by its own spacing, else with every point of the SCF and those between."""
    if kdist is not None:
        return mesh_of(plan.structure, kdist).divisions
    a, b, c = (
        n if empty else 2 * n
        for n, empty in zip(plan.choices.mesh, vacuum_directions(plan.structure), strict=True)
    )
    return a, b, c


def _bandwise(
    plan: Plan,
    calculation: str,
    *,
    mesh: tuple[int, int, int] | None = None,
    kpoints: Any = None,
) -> PwTask:
    """An nscf or bands task with empty bands enough to see a gap."""
    filled = -(-round(plan.choices.n_electrons) // 2)
    bands = filled + max(4, -(-filled // 3))
    if plan.choices.nbnd is not None:
        by_rule = "nbnd" in plan.choices.reasons
        bands = max(bands, plan.choices.nbnd) if by_rule else plan.choices.nbnd
    task = PwTask(
        calculation=calculation,
        structure=plan.structure,
        choices=replace(plan.choices, shift=(0, 0, 0)),  # twice a moved mesh has its points so
        pseudos=plan.task.pseudos,
        pseudo_dir=plan.task.pseudo_dir,
        outdir=plan.task.outdir,
        mesh=mesh,
        kpoints=kpoints,
        settings=plan.task.settings,
    )
    return task.with_settings(
        {
            "system": {"nbnd": bands},
            "electrons": {"conv_thr": _BAND_THRESHOLD_RY * plan.choices.n_electrons},
        }
    )


def _relaxed(plan: Plan, stage: StageResult) -> Finding:
    before, after = (analyze_symmetry(structure) for structure in (plan.structure, stage.structure))
    one, two = f"{before.symbol} ({before.number})", f"{after.symbol} ({after.number})"
    warnings = () if one == two else (f"The space group changed from {one} to {two}.",)
    forces = [step.forces for step in stage.steps]
    series = {
        "step_energy_ev": tuple(step.energy_ev for step in stage.steps),
        "step_volume_a3": tuple(float(abs(np.linalg.det(s.lattice))) for s in stage.steps),
        "step_max_force_ev_a": tuple(
            0.0 if f is None else float(np.linalg.norm(f, axis=1).max()) for f in forces
        ),
    }
    return Finding(
        final=stage,
        stages=(stage,),
        gap=gap_of(stage),
        values={"n_steps": float(len(stage.steps) - 1)},
        series=series,
        labels={
            "space_group_before": one,
            "space_group_after": two,
            "gap_from": _mesh_words(plan),
        },
        warnings=warnings,
    )


def gap_of(stage: StageResult) -> BandGap | None:
    """The gap on the mesh of a stage; None where it has too few bands to say."""
    return band_gap(stage.xml.bands, stage.xml.n_electrons, stage.xml.total_magnetization)


_Seen = tuple[BandGap | None, str]


def _narrower(one: _Seen, other: _Seen) -> _Seen:
    """Of two gaps with where they were seen; the first where they are equal."""
    if one[0] is None or (other[0] is not None and other[0].gap_ev < one[0].gap_ev):
        return other
    return one


def _mesh_words(plan: Plan) -> str:
    return "SCF mesh " + "x".join(str(n) for n in plan.choices.mesh)


def _with(found: Finding, **changes: Any) -> Finding:
    if "values" in changes:
        changes["values"] = {**found.values, **changes["values"]}
    if "series" in changes:
        changes["series"] = {**found.series, **changes["series"]}
    return replace(found, **changes)
