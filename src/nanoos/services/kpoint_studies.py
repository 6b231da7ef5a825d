"""Convergence studies of the laboratory: submitted as jobs, read back for the k-point models."""

import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from sqlalchemy import select

from nanoos.core.errors import InvalidInputError
from nanoos.db import Database, JobTable, SimulationResultTable, SimulationTable, StructureTable
from nanoos.kpoints.studies import ConvergenceStudy, MeshEnergy, StudyFile
from nanoos.services.access import Principal, visible
from nanoos.services.simulations import Simulation, SimulationService
from nanoos.structures import Structure

ENGINE: Final = "QE"
WORKFLOW: Final = "kpoint_convergence"
_BATCH: Final = 100


class KpointStudyService:
    """Studies are simulations: their jobs, files and results are those of any other.

    Args:
        database: Where they are.
        simulations: Submits and reads.
    """

    def __init__(self, database: Database, simulations: SimulationService) -> None:
        self._db = database
        self._simulations = simulations

    def submit(
        self,
        structure_id: uuid.UUID,
        who: Principal,
        *,
        parameters: Mapping[str, Any] | None = None,
        priority: int = 0,
    ) -> Simulation:
        """Queue a study; as :meth:`SimulationService.submit`.

        Raises:
            NotFoundError: no such structure, or no pseudopotentials.
            InvalidInputError: parameters or a structure that do not fit.
            UnavailableError: there is no pw.x.
        """
        return self._simulations.submit(
            structure_id,
            who,
            engine=ENGINE,
            workflow=WORKFLOW,
            parameters=parameters,
            priority=priority,
        )

    def studies(self, who: Principal) -> Iterator[ConvergenceStudy]:
        """Every completed study that ``who`` may see, oldest first."""
        query = (
            select(SimulationResultTable, StructureTable)
            .join(SimulationTable, SimulationTable.id == SimulationResultTable.simulation_id)
            .join(StructureTable, StructureTable.id == SimulationTable.structure_id)
            .join(JobTable, JobTable.id == SimulationTable.job_id)
            .where(
                SimulationTable.engine == ENGINE,
                SimulationTable.workflow == WORKFLOW,
                visible(JobTable, who),
            )
            .order_by(SimulationResultTable.created_at, SimulationResultTable.id)
        )
        with self._db.read() as session:
            for result, row in session.execute(query.execution_options(yield_per=_BATCH)):
                structure = Structure.from_dict({"lattice": row.lattice_vectors, **row.sites})
                yield study_of(result.record, structure, created=result.created_at.isoformat())

    def export(self, path: Path, who: Principal) -> int:
        """Write the studies to a new file of JSON lines for training; how many there were.

        Raises:
            InvalidInputError: the file is there already.
        """
        if path.exists():
            raise InvalidInputError(f"{path} is there already.", hint="Name a new file.")
        store = StudyFile(path)
        count = 0
        for study in self.studies(who):
            store.add(study)
            count += 1
        return count


def study_of(
    record: Mapping[str, Any], structure: Structure, *, created: str = ""
) -> ConvergenceStudy:
    """The study that a result of the workflow holds.

    Args:
        record: Of the result.
        structure: What was studied.
        created: ISO time, UTC.
    """
    series, parameters = record["series"], record["provenance"]["parameters"]
    choices = parameters["choices"]
    smeared = f"{choices['smearing']} {choices['degauss_ry']:g} Ry"
    version = record["provenance"]["software"]["quantum-espresso"]
    columns = (series[name] for name in ("length_a", "mesh_1", "mesh_2", "mesh_3", "energy_ev"))
    return ConvergenceStudy(
        structure=structure,
        energies=tuple(
            MeshEnergy(length=length, divisions=(int(n1), int(n2), int(n3)), energy_ev=energy)
            for length, n1, n2, n3, energy in zip(*columns, strict=True)
        ),
        tolerance_ev=parameters["tolerance_ev"],
        code=f"pw.x {version}, {parameters['family']}, {choices['ecutwfc_ry']:g} Ry, "
        f"{smeared if choices['smearing'] else 'fixed'}",
        created=created,
    )
