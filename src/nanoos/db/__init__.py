"""Tables, the queries on them, sessions, migrations and the artifact store."""

from nanoos.db.artifacts import ArtifactStore, ArtifactTable, name_artifacts
from nanoos.db.base import Table, db_now
from nanoos.db.campaigns import CampaignTable, CandidateTable, IterationTable
from nanoos.db.datasets import DatasetTable
from nanoos.db.events import LabEventTable
from nanoos.db.features import StructureFeatureTable
from nanoos.db.jobs import JobEventTable, JobTable
from nanoos.db.materials import MaterialTable, StructureTable
from nanoos.db.monitoring import ModelAlertTable
from nanoos.db.predictions import ModelTable, PredictionTable
from nanoos.db.session import Database, insert_if_absent
from nanoos.db.simulations import SimulationResultTable, SimulationTable
from nanoos.db.templates import SimulationTemplateTable
from nanoos.db.users import (
    LOCAL_USER_ID,
    ApiKeyTable,
    IdempotencyTable,
    RefreshTokenTable,
    UserTable,
)

__all__ = [
    "LOCAL_USER_ID",
    "ApiKeyTable",
    "ArtifactStore",
    "ArtifactTable",
    "CampaignTable",
    "CandidateTable",
    "Database",
    "DatasetTable",
    "IdempotencyTable",
    "IterationTable",
    "JobEventTable",
    "JobTable",
    "LabEventTable",
    "MaterialTable",
    "ModelAlertTable",
    "ModelTable",
    "PredictionTable",
    "RefreshTokenTable",
    "SimulationResultTable",
    "SimulationTable",
    "SimulationTemplateTable",
    "StructureFeatureTable",
    "StructureTable",
    "Table",
    "UserTable",
    "db_now",
    "insert_if_absent",
    "name_artifacts",
]
