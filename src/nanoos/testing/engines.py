"""What every engine must do."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from nanoos.core.errors import EngineError, InvalidInputError
from nanoos.core.records import EngineResult
from nanoos.core.units import GPA_PER_EV_A3
from nanoos.engines import ENGINES, Engine, get_engine, result_from_dict
from nanoos.engines.base import OUTPUT_DIR, RESULT_FILE
from nanoos.structures import Structure
from nanoos.testing.crystals import rocksalt


class EngineContract:
    """Inherit, set ``name`` and the parameters of one quick run for each workflow.

    Attributes:
        quick: Workflow to parameters that finish within seconds on a two-atom cell.
        uncovered_element: One that the engine must refuse.
        elsewhere: Workflows whose quick runs another, slow class makes.
    """

    name: ClassVar[str]
    quick: ClassVar[Mapping[str, Mapping[str, Any]]]
    uncovered_element: ClassVar[str] = "Bk"
    elsewhere: ClassVar[frozenset[str]] = frozenset()

    @pytest.fixture(scope="class")
    @classmethod
    def engine(cls) -> Engine[Any]:
        """The engine under test."""
        return get_engine(cls.name)()

    @pytest.fixture(scope="class")
    @classmethod
    def structure(cls) -> Structure:
        """Two atoms, a little off equilibrium."""
        return rocksalt(4.3)

    @pytest.fixture(scope="class")
    @classmethod
    def runs(
        cls, engine: Engine[Any], structure: Structure, tmp_path_factory: pytest.TempPathFactory
    ) -> dict[str, tuple[Path, EngineResult, list[float]]]:
        """Workflow to folder, result and the fractions that progress was told."""
        found = {}
        for workflow, parameters in cls.quick.items():
            folder = tmp_path_factory.mktemp(workflow)
            seen: list[float] = []
            result = engine.run(
                structure,
                {**parameters, "workflow": workflow},
                folder,
                progress=lambda fraction, _, seen=seen: seen.append(fraction),  # type: ignore[misc]
            )
            found[workflow] = (folder, result, seen)
        return found

    def test_is_registered(self, engine: Engine[Any]) -> None:
        assert isinstance(engine, Engine)
        assert engine.name == ENGINES.canonical_name(self.name)
        assert engine.version
        assert engine.default_workflow in engine.workflows
        assert engine.queue in {"default", "ml", "md", "dft"}
        made = {*self.quick, *self.elsewhere}
        assert made == set(engine.workflows), "one quick run for each workflow"

    def test_results_are_whole(
        self, runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for workflow, (folder, result, _) in runs.items():
            assert result.success
            assert result.workflow == workflow
            assert np.isfinite(result.energy_ev)
            assert all(np.isfinite(v) for v in result.values.values())
            assert result.structure is not None
            assert result.energy_ev == pytest.approx(
                result.values["energy_ev_per_atom"] * result.structure.n_sites
            )
            assert result.files
            assert all((folder / name).is_file() for name in result.files), workflow
            assert result.wall_time_s > 0

    def test_results_hold_what_is_promised(
        self, engine: Engine[Any], runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for workflow, (_, result, _) in runs.items():
            parameters = engine.validate_parameters({**self.quick[workflow], "workflow": workflow})
            assert (engine.values_given(parameters) or frozenset()) <= set(result.values), workflow
            assert list(engine.lacking(parameters)) == [], "it has run"

    def test_provenance_repeats_the_run(
        self, runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for folder, result, _ in runs.values():
            provenance = result.provenance
            assert provenance.command
            assert provenance.software
            assert provenance.parameters["workflow"] == result.workflow
            inputs = {p.name for p in (folder / "input").iterdir()}
            assert set(provenance.inputs_sha256) == inputs

    def test_the_input_folder_alone_gives_the_same_result(
        self,
        engine: Engine[Any],
        runs: Mapping[str, tuple[Path, EngineResult, list[float]]],
        tmp_path: Path,
    ) -> None:
        workflow, (folder, result, _) = next(iter(runs.items()))
        outcome = engine.execute(folder / "input", tmp_path / workflow)
        assert outcome.success, outcome.message
        again = engine.parse_output(tmp_path / workflow)
        assert again.energy_ev == pytest.approx(result.energy_ev, abs=1e-6)
        assert again.provenance.inputs_sha256 == result.provenance.inputs_sha256

    def test_a_result_survives_json(
        self, runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for _, result, _ in runs.values():
            document = json.loads(json.dumps(result.as_dict()))
            assert result_from_dict(document) == result

    def test_results_hold_requested_and_used_resources(
        self, runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for folder, result, _ in runs.values():
            requested, used = result.resources["requested"], result.resources["used"]
            assert requested["processes"] >= 1
            assert requested["threads"] >= 1
            assert requested["estimated_cpu_s"] > 0
            assert used["wall_s"] >= result.wall_time_s
            assert used["cpu_s"] > 0
            assert used["max_rss_mb"] > 1
            told = json.loads((folder / OUTPUT_DIR / RESULT_FILE).read_text(encoding="utf-8"))
            assert told["resources"] == result.resources

    def test_result_file_tells_the_stress_in_gpa(
        self, runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for folder, result, _ in runs.values():
            told = json.loads((folder / OUTPUT_DIR / RESULT_FILE).read_text(encoding="utf-8"))
            assert (told["stress_gpa"] is None) == (result.stress is None)
            if result.stress is not None:
                expected = GPA_PER_EV_A3 * np.array(result.stress)
                np.testing.assert_allclose(told["stress_gpa"], expected)

    def test_progress_only_grows(
        self, runs: Mapping[str, tuple[Path, EngineResult, list[float]]]
    ) -> None:
        for _, _, seen in runs.values():
            assert seen
            assert seen == sorted(seen)
            assert seen[0] >= 0
            assert seen[-1] <= 1

    def test_what_progress_raises_ends_the_run(
        self, engine: Engine[Any], structure: Structure, tmp_path: Path
    ) -> None:
        class StopError(Exception):
            pass

        def stop(fraction: float, message: str) -> None:
            raise StopError(f"{fraction} {message}")

        with pytest.raises(StopError):
            engine.run(structure, {**self._first()}, tmp_path, progress=stop)
        with pytest.raises(EngineError):
            engine.parse_output(tmp_path / "output")

    def test_timeout_is_a_failure_with_a_reason(
        self, engine: Engine[Any], structure: Structure, tmp_path: Path
    ) -> None:
        started = time.monotonic()
        with pytest.raises(EngineError) as caught:
            engine.run(structure, {**self._first()}, tmp_path, timeout=1e-9)
        assert caught.value.error_code == "timeout"
        assert time.monotonic() - started < 60

    def test_an_empty_output_folder_is_no_result(self, engine: Engine[Any], tmp_path: Path) -> None:
        with pytest.raises(EngineError) as caught:
            engine.parse_output(tmp_path)
        assert caught.value.error_code == "no_result"

    def test_a_misspelt_parameter_is_answered_with_the_nearest(
        self, engine: Engine[Any], structure: Structure
    ) -> None:
        parameters = self._first()
        name = next(k for k in type(engine.validate_parameters(parameters)).model_fields)
        with pytest.raises(InvalidInputError) as caught:
            engine.validate(structure, {**parameters, name + "x": 1})
        assert name in str(caught.value.hint)

    def test_unknown_workflow_is_refused(self, engine: Engine[Any], structure: Structure) -> None:
        with pytest.raises(InvalidInputError, match="no workflow"):
            engine.validate(structure, {"workflow": "levitate"})

    def test_uncovered_element_is_refused_before_anything_is_written(
        self, engine: Engine[Any], tmp_path: Path
    ) -> None:
        with pytest.raises(InvalidInputError, match=self.uncovered_element):
            engine.run(rocksalt(5.0, self.uncovered_element, "O"), self._first(), tmp_path)
        assert list(tmp_path.iterdir()) == []

    def test_what_it_rests_on_does_not_change_by_itself(
        self, engine: Engine[Any], structure: Structure
    ) -> None:
        checked = engine.validate_parameters(self._first())
        found = engine.fingerprint(structure, checked)
        assert found == type(engine)().fingerprint(structure, checked)
        assert all(isinstance(text, str) for text in (*found, *found.values()))

    def test_cost_is_estimated_and_grows_with_the_cell(
        self, engine: Engine[Any], structure: Structure
    ) -> None:
        doubled = Structure(
            lattice=structure.lattice * [[2], [1], [1]],
            species=structure.species * 2,
            frac_coords=np.vstack(
                [structure.frac_coords, structure.frac_coords + np.array([1, 0, 0])]
            )
            / [2, 1, 1],
        )
        small = engine.estimate_seconds(structure, self._first())
        assert 0 < small < engine.estimate_seconds(doubled, self._first())

    def _first(self) -> dict[str, Any]:
        workflow, parameters = next(iter(self.quick.items()))
        return {**parameters, "workflow": workflow}
