"""All services together, as bootstrap wires them."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from nanoos.db import ArtifactStore, Database
from nanoos.services.campaigns import CampaignService
from nanoos.services.comparisons import ComparisonService
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
from nanoos.services.simulation_templates import SimulationTemplateService
from nanoos.services.simulations import SimulationService
from nanoos.services.structures import StructureService
from nanoos.services.training import TrainingService
from nanoos.services.users import UserService


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything a shell may call. Each service is thread-safe."""

    database: Database
    artifacts: ArtifactStore
    runs_dir: Path
    users: UserService
    materials: MaterialService
    structures: StructureService
    predictions: PredictionService
    features: FeatureService
    kpoints: KpointService
    kpoint_studies: KpointStudyService
    optimade: OptimadeService
    jobs: JobService
    job_files: JobFiles
    simulations: SimulationService
    templates: SimulationTemplateService
    campaigns: CampaignService
    reports: ReportService
    datasets: DatasetService
    models: ModelRegistryService
    training: TrainingService
    comparisons: ComparisonService
    monitoring: MonitoringService
    lab_events: LabEvents
    close: Callable[[], None]
