"""What models and engines said, for people to look at."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

from nanoos.core.records import EngineResult
from nanoos.laboratory.showing import html_table, number, text_table
from nanoos.services.prediction_records import DEFAULT_LEVEL, PredictionRecord
from nanoos.structures import Structure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class PredictionView:
    """A prediction of the laboratory.

    Attributes:
        record: Everything that is stored of it.
        level: Level of the intervals that are shown.
    """

    def __init__(self, record: PredictionRecord, level: float = DEFAULT_LEVEL) -> None:
        self.record = record
        self.level = level

    def __getitem__(self, name: str) -> float | None:
        return self.record.properties[name]

    @property
    def properties(self) -> dict[str, float | None]:
        """Property name to number."""
        return self.record.properties

    def _table(self) -> tuple[list[str], list[list[str]]]:
        percent = f"{100 * self.level:g} %"
        headers = ["property", "value", "unit", "± sigma", percent, "confidence", "domain"]
        intervals = self.record.intervals(self.level)
        rows = []
        for name, value in self.record.values.items():
            bounds = intervals[name]
            span = (
                "–" if bounds.lower is None else f"{number(bounds.lower)} to {number(bounds.upper)}"
            )
            domain = {None: "–", True: "outside", False: "inside"}[value.out_of_domain]
            rows.append(
                [
                    name,
                    number(value.value),
                    value.unit,
                    number(value.sigma),
                    span,
                    number(value.confidence),
                    domain,
                ]
            )
        return headers, rows

    def _caption(self) -> str:
        record = self.record
        return f"{record.metadata['formula']} by {record.model_name} {record.model_version}"

    def _notes(self) -> list[str]:
        notes = [str(note) for note in self.record.metadata.get("notes", [])]
        if self.record.metadata.get("not_for_decisions"):
            notes.insert(0, "Not for decisions: this is a reference model for tests.")
        return notes

    def __repr__(self) -> str:
        return "\n".join([self._caption(), text_table(*self._table()), *self._notes()])

    def _repr_html_(self) -> str:
        notes = "".join(html_table("", [""], [[note]]) for note in self._notes())
        return html_table(self._caption(), *self._table()) + notes


class SimulationRun:
    """What an engine gave for one crystal.

    Attributes:
        initial: The crystal as it went in.
        result: Everything the engine said.
    """

    def __init__(self, initial: Structure, result: EngineResult) -> None:
        self.initial = initial
        self.result = result

    @property
    def structure(self) -> Structure:
        """The final structure."""
        return self.result.structure or self.initial

    @property
    def values(self) -> Mapping[str, float]:
        """Name with unit to number."""
        return self.result.values

    @property
    def warnings(self) -> tuple[str, ...]:
        """Sentences about the quality of the run."""
        return self.result.warnings

    def plot(self) -> "Figure":
        """Energy of each step of a relaxation, or against volume for an equation of state."""
        from matplotlib.figure import Figure

        series = self.result.series
        energy = next((name for name in series if name.startswith("energy")), None)
        volume = next((name for name in series if name.startswith("volume")), None)
        figure = Figure(figsize=(5, 3.5), layout="constrained")
        axes = figure.subplots()
        axes.set_title(f"{self.initial.formula}, {self.result.workflow}")
        if energy is None:
            axes.text(0.5, 0.5, "one point only", ha="center", va="center")
            axes.set_axis_off()
            return figure
        if self.result.workflow == "equation_of_state" and volume is not None:
            axes.plot(series[volume], series[energy], "o")
            axes.set_xlabel(volume)
        else:
            axes.plot(range(len(series[energy])), series[energy], "o-", markersize=3)
            axes.set_xlabel("step")
        axes.set_ylabel(energy)
        return figure

    def _table(self) -> tuple[list[str], list[list[str]]]:
        rows = [["workflow", self.result.workflow], ["energy_ev", f"{self.result.energy_ev:.6f}"]]
        rows += [[name, number(value, 6)] for name, value in self.values.items()]
        rows += [["warning", sentence] for sentence in self.warnings]
        return ["", ""], rows

    def _caption(self) -> str:
        return f"{self.initial.formula} by {self.result.provenance.producer}"

    def __repr__(self) -> str:
        return f"{self._caption()}\n{text_table(*self._table())}\n{self.structure!r}"

    def _repr_html_(self) -> str:
        return html_table(self._caption(), *self._table())
