"""The only wiring: settings to database to services; ``nanoos.open()`` for notebooks."""

import secrets
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nanoos.config import Settings, load_settings
from nanoos.core.errors import ConfigError, UnavailableError
from nanoos.core.folders import set_data_dir
from nanoos.datasets.readers.databases import DatabaseAccess
from nanoos.db import ArtifactStore, Database
from nanoos.engines.espresso.program import set_command as set_qe_command
from nanoos.engines.lammps.program import set_program
from nanoos.engines.vasp.potcars import set_potcar_folder
from nanoos.engines.vasp.program import set_command as set_vasp_command
from nanoos.potentials.installed_weights import set_weights_folder
from nanoos.potentials.runtime import set_device, set_threads
from nanoos.pseudopotentials import set_pseudo_folder
from nanoos.services.campaigns import CampaignService
from nanoos.services.comparisons import ComparisonService
from nanoos.services.container import Services
from nanoos.services.datasets import DatasetService
from nanoos.services.features import FeatureService
from nanoos.services.job_files import JobFiles
from nanoos.services.jobs import JobService
from nanoos.services.kpoint_studies import KpointStudyService
from nanoos.services.kpoints import KpointService
from nanoos.services.lab_events import LabEvents
from nanoos.services.materials import MaterialService
from nanoos.services.model_registry import ModelRegistryService
from nanoos.services.monitoring import MonitoringService
from nanoos.services.optimade import OptimadeService
from nanoos.services.predictions import PredictionService
from nanoos.services.reports import ReportService
from nanoos.services.shipped_models import sync_shipped_models
from nanoos.services.simulation_templates import (
    SimulationTemplateService,
    sync_shipped_templates,
)
from nanoos.services.simulations import SimulationService
from nanoos.services.structures import StructureService
from nanoos.services.training import TrainingService
from nanoos.services.users import UserService

if TYPE_CHECKING:
    from nanoos.laboratory import Laboratory


def set_machine(settings: Settings) -> None:
    """Tell this process where programs, weights and pseudopotentials are; makes nothing."""
    set_data_dir(settings.data_dir)
    set_device(settings.device)
    set_weights_folder(settings.resolved_models_dir)
    set_threads(settings.threads_per_job)
    set_program(settings.lammps_command, settings.lammps_potential_dir)
    set_pseudo_folder(settings.resolved_pseudo_dir)
    set_qe_command(settings.qe_command)
    set_vasp_command(settings.vasp_command)
    set_potcar_folder(settings.vasp_potcar_dir)


def build_services(settings: Settings) -> Services:
    """Wire all services; the database must be at the current schema already."""
    set_machine(settings)
    database = Database(settings.resolved_database_url)
    artifacts = ArtifactStore(settings.resolved_artifacts_url)
    runs_dir = settings.data_dir / "runs"
    jobs = JobService(database, lease_s=settings.lease_seconds)
    structures = StructureService(database)
    simulations = SimulationService(database, jobs, structures)
    campaigns = CampaignService(database, jobs, structures)
    models = ModelRegistryService(database, artifacts, settings.data_dir / "trained")
    predictions = PredictionService(database, structures, models)
    return Services(
        database=database,
        artifacts=artifacts,
        runs_dir=runs_dir,
        users=UserService(
            database,
            secret_key=settings.secret_key.get_secret_value(),
            access_token_minutes=settings.access_token_minutes,
            refresh_token_days=settings.refresh_token_days,
        ),
        materials=MaterialService(database),
        structures=structures,
        predictions=predictions,
        features=FeatureService(database, artifacts, structures, jobs),
        kpoints=KpointService(structures),
        kpoint_studies=KpointStudyService(database, simulations),
        optimade=OptimadeService(settings.optimade_url),
        jobs=jobs,
        job_files=JobFiles(database, artifacts, runs_dir),
        simulations=simulations,
        templates=SimulationTemplateService(database, simulations),
        campaigns=campaigns,
        reports=ReportService(campaigns, simulations),
        datasets=DatasetService(
            database,
            artifacts,
            jobs,
            downloads=settings.data_dir / "downloads",
            access=DatabaseAccess(mp_api_key=settings.mp_api_key.get_secret_value()),
        ),
        models=models,
        training=TrainingService(database, artifacts, jobs, models, data_dir=settings.data_dir),
        comparisons=ComparisonService(predictions, simulations),
        monitoring=MonitoringService(database, models),
        lab_events=LabEvents(database),
        close=database.dispose,
    )


def prepare(settings: Settings) -> Settings:
    """Make the data folder, the secret key and, when embedded, the current schema.

    The models and templates that come with the package get their rows.

    Returns the settings with the secret key filled in. A PostgreSQL database is never migrated
    by itself: several machines share it.

    Raises:
        ConfigError: the data folder cannot be written.
        UnavailableError: a PostgreSQL database is not at the current schema.
    """
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / "runs").mkdir(exist_ok=True)
        settings = _with_secret_key(settings)
    except OSError as error:
        raise ConfigError(
            f"The data folder {settings.data_dir} cannot be written: {error.strerror}.",
            hint="Set NANO_OS_DATA_DIR to a folder that you may write.",
        ) from error
    database = Database(settings.resolved_database_url)
    try:
        _ensure_schema(database)
        sync_shipped_models(database)
        sync_shipped_templates(database)
    finally:
        database.dispose()
    return settings


def _with_secret_key(settings: Settings) -> Settings:
    if settings.secret_key.get_secret_value():
        return settings
    path = settings.data_dir / "secret.key"
    with suppress(FileExistsError):
        temporary = path.with_suffix(f".{secrets.token_hex(4)}")
        temporary.touch(mode=0o600)
        temporary.write_text(secrets.token_urlsafe(48))
        try:
            path.hardlink_to(temporary)  # atomic: of two first starts one wins
        finally:
            temporary.unlink()
    return settings.model_copy(update={"secret_key": _secret(path)})


def _secret(path: Path) -> Any:
    from pydantic import SecretStr

    return SecretStr(path.read_text().strip())


def _ensure_schema(database: Database) -> None:
    from nanoos.db.migrate import current_revision, head_revision, upgrade

    current = current_revision(database)
    if current == head_revision():
        return
    if not database.is_sqlite:
        raise UnavailableError(
            "The database is not at the schema of this version of nanoos.",
            hint="Run 'nanoos db upgrade' once, on one machine.",
            code="schema_outdated",
        )
    upgrade(database)


def open_services(**overrides: Any) -> tuple[Settings, Services]:
    """Settings, prepared, and the services over them."""
    settings = prepare(load_settings(**overrides))
    return settings, build_services(settings)


def open_laboratory(data_dir: str | Path | None = None) -> "Laboratory":
    """Open the laboratory of this machine for a notebook or a script.

    Args:
        data_dir: Another data folder than the configured one.
    """
    from nanoos.laboratory import Laboratory

    overrides = {} if data_dir is None else {"data_dir": Path(data_dir)}
    return Laboratory(*open_services(**overrides))
