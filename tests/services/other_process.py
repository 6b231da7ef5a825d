"""What tests run in a process of its own; a spawned process imports this module by name."""

from nanoos.db import Database
from nanoos.services.access import LOCAL_PRINCIPAL
from nanoos.services.predictions import PredictionService
from nanoos.services.structures import StructureService
from nanoos.structures import ReadOutcome
from nanoos.testing.crystals import rocksalt


def predict_one(url, structure_id, barrier, queue):
    """Predict at the same moment as the other process."""
    database = Database(url)
    service = PredictionService(database, StructureService(database))
    barrier.wait(60)
    queue.put(service.predict(structure_id, LOCAL_PRINCIPAL, model_name="STUB").id)


def import_all(url, who, barrier, queue):
    """Import the same 40 crystals at the same moment as the other process."""
    service = StructureService(Database(url))
    barrier.wait(60)
    outcomes = (
        ReadOutcome(
            file="x.extxyz",
            index=number,
            structure=rocksalt(4 + 0.02 * number),
            source_id=None,
            error=None,
        )
        for number in range(40)
    )
    lines = list(service.import_outcomes(outcomes, who))
    bad = [line.error for line in lines if line.error]
    queue.put(("ok" if not bad else str(bad), [(line.index, line.id) for line in lines]))
