"""Relaxation of many crystals in one run, each with a result or an error of its own."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from nanoos import __version__
from nanoos.core.errors import NanoosError
from nanoos.core.records import EngineResult, Provenance
from nanoos.engines.mlip.output import engine_result
from nanoos.engines.mlip.parameters import MLIPParameters, RelaxParameters
from nanoos.engines.mlip.workflows import relax_finding
from nanoos.engines.resources import Meter
from nanoos.engines.time_left import with_time_left
from nanoos.potentials import Potential, Relaxation, get_potential, relax_many
from nanoos.potentials.runtime import threads
from nanoos.structures import Structure

Done = Callable[[int, EngineResult | NanoosError], None]
Progress = Callable[[float, str], None]


def provenance_of(
    engine: str,
    potential: Potential,
    parameters: MLIPParameters,
    *,
    command: str | None = None,
    inputs_sha256: Mapping[str, str] | None = None,
) -> Provenance:
    """What made a result of this engine."""
    return Provenance(
        producer=f"{engine}/{potential.name}",
        version=f"{__version__}/{potential.version}",
        weights_sha256=potential.weights_sha256,
        parameters=parameters.model_dump(mode="json"),
        software={"nanoos": __version__, **potential.software},
        command=command,
        inputs_sha256=inputs_sha256 or {},
    )


def relax_batch(
    structures: Sequence[Structure],
    parameters: RelaxParameters,
    *,
    engine: str = "MLIP",
    progress: Progress | None = None,
    done: Done | None = None,
) -> list[EngineResult | NanoosError]:
    """Relax every structure in one batch.

    Args:
        structures: Where to start.
        parameters: Of the workflow ``relax``, the same for all.
        engine: Named in the provenance.
        progress: Told of (fraction, message); may raise to stop.
        done: Told of (index, outcome) as soon as a structure has ended; may raise to stop.

    Returns:
        In order, each structure's result (without files), or the error that ended it. The wall
        and processor times of a result are those of the batch until then over the number of
        structures; the memory is that of the batch.
    """
    potential = get_potential(parameters.potential)
    provenance = provenance_of(engine, potential, parameters)
    meter = Meter()
    outcomes: dict[int, EngineResult | NanoosError] = {}

    def ended(index: int, outcome: Relaxation | NanoosError) -> None:
        found: EngineResult | NanoosError
        if isinstance(outcome, Relaxation):
            used = meter.used()
            wall_s, cpu_s = used["wall_s"] / len(structures), used["cpu_s"] / len(structures)
            found = replace(
                engine_result(
                    relax_finding(outcome, potential, parameters), provenance, wall_s, files=()
                ),
                resources={
                    "requested": {"processes": 1, "threads": threads()},
                    "used": {**used, "wall_s": wall_s, "cpu_s": cpu_s},
                },
            )
        else:
            found = outcome
        outcomes[index] = found
        if done is not None:
            done(index, found)

    with meter:
        relax_many(
            structures,
            potential,
            fmax=parameters.fmax,
            max_steps=parameters.max_steps,
            relax_cell=parameters.relax_cell,
            keep_symmetry=parameters.keep_symmetry,
            pressure_gpa=parameters.pressure_gpa,
            progress=with_time_left(progress),
            done=ended,
        )
    return [outcomes[index] for index in range(len(structures))]
