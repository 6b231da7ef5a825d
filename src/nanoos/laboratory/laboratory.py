"""The laboratory: what a notebook does with the services of this machine."""

import tempfile
import uuid
from collections.abc import Mapping, Sequence
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from nanoos.config import Settings
from nanoos.laboratory.crystals import Crystal, StoredStructure, StructureShelf, as_structure
from nanoos.laboratory.findings import PredictionView, SimulationRun
from nanoos.laboratory.showing import Listing, html_table
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.campaign_records import Campaign
from nanoos.services.container import Services
from nanoos.services.jobs import Job
from nanoos.services.prediction_models import KnownModel
from nanoos.services.prediction_records import DEFAULT_LEVEL
from nanoos.services.simulations import Simulation
from nanoos.structures import Structure


class Laboratory:
    """Structures, predictions, simulations and campaigns of this machine; from ``nanoos.open()``.

    Acts as the local user, over the same database as the command line. A context manager:
    ``with nanoos.open() as lab: ...`` closes it.

    Args:
        settings: The settings in force.
        services: Built from them.
    """

    def __init__(self, settings: Settings, services: Services) -> None:
        self.settings = settings
        self.services = services
        self._who = LOCAL_PRINCIPAL
        self.structures = StructureShelf(services, self._who)
        self.campaigns = CampaignShelf(services)
        self.jobs = JobShelf(services)

    # -- predicting and simulating ----------------------------------------------------------

    def predict(
        self,
        crystal: Crystal,
        model: str | None = None,
        *,
        level: float = DEFAULT_LEVEL,
        force_recompute: bool = False,
    ) -> PredictionView:
        """What a model says of a crystal; the crystal and the prediction are stored.

        Args:
            crystal: A Structure, ``ase.Atoms``, pymatgen Structure, path or stored structure.
            model: By default the best available one; ``lab.models()`` lists them.
            level: Level of the intervals that are shown.
            force_recompute: Compute again where there is a prediction.
        """
        record = self.services.predictions.predict(
            self.structures.add(crystal).id,
            self._who,
            model_name=model,
            force_recompute=force_recompute,
        )
        return PredictionView(record, level)

    def predict_many(
        self, crystals: Sequence[Crystal], model: str | None = None
    ) -> Listing[PredictionView]:
        """Predictions of several crystals, as a table; raises at the first that fails."""
        views = [self.predict(crystal, model) for crystal in crystals]
        names = dict.fromkeys(name for view in views for name in view.properties)
        columns: dict[str, Any] = {"formula": lambda view: view.record.metadata["formula"]}
        columns |= {name: _property_getter(name) for name in names}
        columns["model"] = lambda view: view.record.model_name
        return Listing(views, columns)

    def models(self) -> Listing[KnownModel]:
        """The models of this installation."""
        return Listing(
            self.services.predictions.models(),
            {
                "name": lambda model: model.name,
                "version": lambda model: model.version,
                "available": lambda model: "yes" if model.available else "no",
                "properties": lambda model: ", ".join(model.supported_properties),
                "description": lambda model: model.description,
            },
        )

    def relax(
        self, crystal: Crystal, potential: str = "CHGNet", **parameters: Any
    ) -> SimulationRun:
        """Relax a crystal now, in this process.

        Args:
            crystal: As in :meth:`predict`; it is not stored.
            potential: CHGNet, SevenNet, ...
            parameters: Of the workflow: ``fmax`` (eV/Å), ``relax_cell``, ``keep_symmetry``,
                ``pressure_gpa``, ``max_steps``.

        Returns:
            The run; ``run.structure`` is the relaxed crystal, ``run.plot()`` shows the way.

        Raises:
            InvalidInputError: a parameter or an element that the potential does not cover.
            EngineError: it did not converge.
        """
        return self.run(crystal, "MLIP", "relax", potential=potential, **parameters)

    def run(
        self,
        crystal: Crystal,
        engine: str = "MLIP",
        workflow: str = "single_point",
        **parameters: Any,
    ) -> SimulationRun:
        """Run any engine now, in this process; nothing is stored."""
        from nanoos.engines import get_engine

        structure = as_structure(crystal).right_handed().validated()
        with tempfile.TemporaryDirectory(prefix="nanoos-") as folder:
            result = get_engine(engine)().run(
                structure, {"workflow": workflow, **parameters}, Path(folder)
            )
        return SimulationRun(structure, result)

    def simulate(
        self, crystal: Crystal, engine: str = "MLIP", workflow: str = "relax", **parameters: Any
    ) -> Simulation:
        """Queue a simulation for the workers; ``lab.simulation(id)`` tells how far it is.

        The same work submitted again gives the simulation that is there; one that failed or was
        cancelled is queued again.

        Args:
            crystal: As in :meth:`predict`; it is stored, in the cell that it has.
            engine: Which engine.
            workflow: What it does.
            parameters: Of the workflow.
        """
        return self.services.simulations.submit(
            self.structures.add(crystal, as_given=True).id,
            self._who,
            engine=engine,
            workflow=workflow,
            parameters=parameters,
        )

    def simulation(self, simulation_id: uuid.UUID | str) -> Simulation:
        """A simulation as it stands now. Raises NotFoundError where it is not there."""
        return self.services.simulations.get(uuid.UUID(str(simulation_id)), self._who)

    def simulations(self, crystal: StoredStructure | str) -> Listing[Simulation]:
        """What was simulated for a stored structure, newest first."""
        stored = crystal if isinstance(crystal, StoredStructure) else self.structures.get(crystal)
        page = self.services.simulations.page_of_structure(stored.id, self._who)
        return Listing(
            page.items,
            {
                "id": lambda item: item.id,
                "engine": lambda item: item.engine,
                "workflow": lambda item: item.workflow,
                "state": lambda item: item.state,
                "energy eV": lambda item: item.energy_ev,
            },
            total=page.total,
        )

    @staticmethod
    def structure(crystal: Crystal) -> Structure:
        """A crystal as a :class:`~nanoos.structures.Structure`; nothing is stored."""
        return as_structure(crystal)

    # -- opening and closing ----------------------------------------------------------------

    def close(self) -> None:
        """Close the database connections."""
        self.services.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _facts(self) -> list[list[str]]:
        return [
            ["data", str(self.settings.data_dir)],
            ["structures", str(len(self.structures))],
            ["campaigns", str(len(self.campaigns))],
            ["jobs", str(len(self.jobs))],
        ]

    def __repr__(self) -> str:
        facts = ", ".join(f"{count} {name}" for name, count in self._facts()[1:])
        return f"<Laboratory at {self.settings.data_dir}: {facts}>"

    def _repr_html_(self) -> str:
        return html_table("Laboratory", ["", ""], self._facts())


def _property_getter(name: str) -> Any:
    return lambda view: view.properties.get(name)


class CampaignShelf:
    """The campaigns of the laboratory: ``lab.campaigns``."""

    def __init__(self, services: Services) -> None:
        self._campaigns = services.campaigns
        self._reports = services.reports
        self._who = LOCAL_PRINCIPAL

    def create(self, config: Mapping[str, Any] | str | PathLike[str]) -> Campaign:
        """Check and store a campaign, given as a mapping or as a YAML file."""
        if isinstance(config, str | PathLike):
            from nanoos.design.campaign_file import load_campaign_file

            checked: Any = load_campaign_file(Path(config).expanduser())
        else:
            checked = config
        return self._campaigns.create(checked, self._who, allow_local_files=True)

    def start(self, campaign_id: uuid.UUID | str) -> Campaign:
        """Let the workers run it until its budget ends."""
        return self._campaigns.run(uuid.UUID(str(campaign_id)), self._who)

    def pause(self, campaign_id: uuid.UUID | str) -> Campaign:
        """Begin no further iteration."""
        return self._campaigns.pause(uuid.UUID(str(campaign_id)), self._who)

    def get(self, campaign_id: uuid.UUID | str) -> Campaign:
        """A campaign as it stands now. Raises NotFoundError where it is not there."""
        return self._campaigns.get(uuid.UUID(str(campaign_id)), self._who)

    def candidates(self, campaign_id: uuid.UUID | str) -> Listing[Any]:
        """Its candidates, the best first."""
        return Listing(
            self._campaigns.ranked(uuid.UUID(str(campaign_id)), self._who),
            {
                "point": lambda item: item.point_key,
                "state": lambda item: item.state,
                "predicted": lambda item: item.predicted_value,
                "values": lambda item: item.values or "",
            },
        )

    def list(self, limit: int = 50) -> Listing[Campaign]:
        """The newest campaigns."""
        page = self._campaigns.page(self._who, limit=limit)
        return Listing(
            page.items,
            {
                "id": lambda item: item.id.hex[:8],
                "name": lambda item: item.name,
                "state": lambda item: item.state,
                "simulations": lambda item: f"{item.simulations_used} of {item.simulation_budget}",
                "best": lambda item: item.best_value,
            },
            total=page.total,
        )

    def __len__(self) -> int:
        return self._campaigns.page(self._who, limit=1).total

    def __repr__(self) -> str:
        return repr(self.list(20))

    def _repr_html_(self) -> str:
        return self.list(20)._repr_html_()


class JobShelf:
    """The jobs of the laboratory: ``lab.jobs``."""

    def __init__(self, services: Services) -> None:
        self._jobs = services.jobs
        self._files = services.job_files
        self._who = LOCAL_PRINCIPAL

    def list(
        self, *, state: str | None = None, kind: str | None = None, limit: int = 50
    ) -> Listing[Job]:
        """The newest jobs."""
        page = self._jobs.page(self._who, state=state, kind=kind, limit=limit)
        return Listing(
            page.items,
            {
                "id": lambda job: job.id.hex[:8],
                "kind": lambda job: job.kind,
                "state": lambda job: job.state,
                "progress": lambda job: f"{100 * job.progress:.0f} %",
                "message": lambda job: job.message or "",
            },
            total=page.total,
        )

    def get(self, job_id: uuid.UUID | str) -> Job:
        """A job as it stands now. Raises NotFoundError where it is not there."""
        return self._jobs.get(uuid.UUID(str(job_id)), self._who)

    def cancel(self, job_id: uuid.UUID | str) -> Job:
        """Cancel a queued job, ask a running one to end."""
        return self._jobs.cancel(uuid.UUID(str(job_id)), self._who)

    def retry(self, job_id: uuid.UUID | str) -> Job:
        """Queue a failed or cancelled job again; it goes on from what it saved."""
        return self._jobs.retry(uuid.UUID(str(job_id)), self._who)

    def log(self, job_id: uuid.UUID | str) -> str:
        """What the job has written so far."""
        return self._files.log(uuid.UUID(str(job_id)), self._who).decode(errors="replace")

    def __len__(self) -> int:
        return self._jobs.page(self._who, limit=1).total

    def __repr__(self) -> str:
        return repr(self.list(limit=20))

    def _repr_html_(self) -> str:
        return self.list(limit=20)._repr_html_()
