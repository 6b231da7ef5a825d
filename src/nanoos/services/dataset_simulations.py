"""Simulation results as rows of a data set; unlike ones are never pooled."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from nanoos.core.errors import InvalidInputError
from nanoos.core.records import LevelOfTheory
from nanoos.datasets.property_columns import TargetColumn, cell_reader, choose_targets, some_values
from nanoos.datasets.readers.cells import refusal_of, structure_of_cell
from nanoos.datasets.rows import DatasetRow, RefusedRow, RowSource, RowStream
from nanoos.db import Database, JobTable, SimulationResultTable, SimulationTable
from nanoos.services.access import Principal, visible
from nanoos.services.dataset_records import SimulationRows
from nanoos.services.simulated_properties import LEVEL_KEYS, STATED, level_of_result

_BATCH: Final = 500


def simulation_rows(
    database: Database,
    who: Principal,
    wanted: SimulationRows,
    *,
    targets: Mapping[str, str],
) -> RowStream:
    """Final structures with the values of the results that ``who`` may see, oldest first.

    Args:
        database: Where they are.
        who: Who asks.
        wanted: Engine, workflow, potential and who made them.
        targets: Property name to name of a value (``bulk_modulus``: ``bulk_modulus_gpa``);
            empty: all values with well-known names.

    Raises:
        InvalidInputError: there is no such result, or there are several potentials or versions
            of one (``unlike_levels``): their numbers mean different things.
    """
    with database.read() as session:
        makers = _makers(session, who, wanted)
        names = _value_names(session, who, wanted)
    maker = _only(makers, wanted)
    chosen = choose_targets(names, targets, {})
    levels = {one.target: level_of_result(maker, one.target) for one in chosen}
    return RowStream(
        name=f"{wanted.engine} {wanted.workflow} ({maker['producer']} {maker['version']})",
        rows=_rows(database, who, wanted, chosen, levels),
        units={one.target: one.unit for one in chosen},
        level_of_theory={name: level for name, level in levels.items() if level is not None},
        columns={one.target: one.column for one in chosen},
        total=sum(count for _, count in makers),
    )


def _query(who: Principal, wanted: SimulationRows, *columns: Any) -> Select[Any]:
    query = (
        select(*columns)
        .select_from(SimulationResultTable)
        .join(SimulationTable, SimulationTable.id == SimulationResultTable.simulation_id)
        .join(JobTable, JobTable.id == SimulationTable.job_id)
        .where(
            func.lower(SimulationTable.engine) == wanted.engine.lower(),
            SimulationTable.workflow == wanted.workflow,
            SimulationResultTable.final_structure.is_not(None),
            visible(JobTable, who),
        )
    )
    if wanted.potential is not None:
        named = SimulationTable.parameters["potential"].as_string()
        query = query.where(func.lower(named) == wanted.potential.lower())
    if wanted.made_by is not None:
        said = (_PROVENANCE["producer"], _PROVENANCE["version"], _LEVEL["reference"])
        words = (func.lower(one.as_string()) for one in said)
        wanted_word = wanted.made_by.lower()
        query = query.where(or_(*(word.contains(wanted_word, autoescape=True) for word in words)))
    return query


_PROVENANCE: Final = SimulationResultTable.record["provenance"]
_LEVEL: Final = _PROVENANCE["parameters"][STATED]


def _makers(
    session: Session, who: Principal, wanted: SimulationRows
) -> list[tuple[dict[str, str], int]]:
    """Producer, version, weights and stated level of the results, each with how many there are.

    The version is that of the program: that of this package changes without the numbers.
    """
    keys = ("producer", "version", "weights_sha256")
    columns = [_PROVENANCE[key].as_string().label(key) for key in keys]
    columns += [_LEVEL[key].as_string().label(key) for key in LEVEL_KEYS]
    names = (*keys, *LEVEL_KEYS)
    rows = session.execute(_query(who, wanted, *columns, func.count()).group_by(*names))
    counts: Counter[tuple[tuple[str, str], ...]] = Counter()
    for *found, count in rows:
        maker = {name: text for name, text in zip(names, found, strict=True) if text}
        if "/" in maker.get("version", ""):
            maker["version"] = maker["version"].partition("/")[2]
        counts[tuple(maker.items())] += count
    return [(dict(maker), count) for maker, count in counts.items()]


def _only(makers: list[tuple[dict[str, str], int]], wanted: SimulationRows) -> dict[str, str]:
    if not makers:
        raise InvalidInputError(
            f"There are no results of {wanted.engine} {wanted.workflow}.",
            hint="Run some: nanoos simulate STRUCTURE, or nanoos discover CAMPAIGN.yaml.",
            code="no_rows",
        )
    if len(makers) > 1:
        named = ", ".join(
            " ".join([m["producer"], m["version"], *([m["reference"]] if "reference" in m else [])])
            + f" ({n} results)"
            for m, n in makers
        )
        raise InvalidInputError(
            f"These results come from {named}: unlike numbers are never pooled.",
            hint="Choose one: --potential NAME, or --made-by TEXT with words of the one wanted.",
            details={"makers": [maker for maker, _ in makers]},
            code="unlike_levels",
        )
    return makers[0][0]


def _value_names(session: Session, who: Principal, wanted: SimulationRows) -> list[str]:
    newest = _query(who, wanted, SimulationResultTable.values)
    newest = newest.order_by(SimulationResultTable.created_at.desc()).limit(1)
    return sorted(session.scalar(newest) or {})


def _rows(
    database: Database,
    who: Principal,
    wanted: SimulationRows,
    targets: list[TargetColumn],
    levels: Mapping[str, LevelOfTheory | None],
) -> Iterator[DatasetRow | RefusedRow]:
    read = cell_reader(targets)
    known = {name: level for name, level in levels.items() if level is not None}
    query = _query(who, wanted, SimulationResultTable, SimulationTable.structure_id)
    query = query.order_by(SimulationResultTable.created_at, SimulationResultTable.id)
    with database.read() as session:
        for result, structure_id in session.execute(query.execution_options(yield_per=_BATCH)):
            source = RowSource(
                kind="simulation",
                name=f"{wanted.engine} {wanted.workflow}",
                id=str(result.simulation_id),
            )
            try:
                values = some_values(read(result.values))
                row = DatasetRow(
                    structure=structure_of_cell(result.final_structure),
                    targets=values,
                    source=source,
                    id=str(structure_id),
                    level_of_theory=known,
                )
            except Exception as problem:  # noqa: BLE001 - one bad row never fails the rest
                yield RefusedRow(source=source, error=refusal_of(problem))
            else:
                yield row
