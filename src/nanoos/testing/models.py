"""What every property model must do."""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import pytest

from nanoos.core.errors import NotFoundError
from nanoos.core.records import Prediction
from nanoos.models import MODEL_REGISTRY, PropertyModel, get_model, list_models
from nanoos.structures import Structure
from nanoos.testing.crystals import perturbed, rocksalt

KNOWN_UNITS = frozenset({"eV", "eV/atom", "GPa", "1"})


class ModelContract:
    """Inherit and set ``name``; override :meth:`make` for a model that needs arguments.

    Attributes:
        sees_structure: False for a model whose answer does not depend on the structure.
        tolerance: Between the same structure written in two ways.
    """

    name: ClassVar[str]
    sees_structure: ClassVar[bool] = True
    tolerance: ClassVar[float] = 2e-5

    @classmethod
    def make(cls) -> PropertyModel:
        """The model under test, ready to predict."""
        return get_model(cls.name)

    @pytest.fixture(scope="class")
    @classmethod
    def model(cls) -> PropertyModel:
        """The model under test."""
        return cls.make()

    @pytest.fixture(scope="class")
    @classmethod
    def structures(cls) -> list[Structure]:
        """Three crystals."""
        return [rocksalt(), rocksalt(5.7, "Na", "Cl"), perturbed(rocksalt(4.3, "Ti", "C"))]

    @pytest.fixture(scope="class")
    @classmethod
    def predictions(cls, model: PropertyModel, structures: Sequence[Structure]) -> list[Prediction]:
        """What the model says of them."""
        return model.predict(structures)

    def test_is_registered_and_listed(self, model: PropertyModel) -> None:
        assert isinstance(model, PropertyModel)
        assert model.info().name == MODEL_REGISTRY.canonical_name(self.name)
        assert self.name in [info.name for info in list_models()]

    def test_says_what_it_is(self, model: PropertyModel) -> None:
        info = model.info()
        assert info.available, info.unavailable_reason
        assert info.version
        assert info.description.endswith(".")
        assert info.supported_properties
        assert info.license
        assert info.weights_sha256 is None or len(info.weights_sha256) == 64
        assert not info.not_for_decisions or not info.test_error

    def test_predicts_what_it_supports(
        self, model: PropertyModel, predictions: Sequence[Prediction]
    ) -> None:
        info = model.info()
        for prediction in predictions:
            assert set(prediction.properties) == set(info.supported_properties)
            assert prediction.provenance.weights_sha256 == info.weights_sha256
            assert prediction.provenance.version == info.version
            assert prediction.not_for_decisions == info.not_for_decisions
            for value in prediction.properties.values():
                assert value.unit in KNOWN_UNITS
                assert value.value is not None
                assert np.isfinite(value.value)

    def test_uncertainty_is_measured_or_absent(self, predictions: Sequence[Prediction]) -> None:
        for prediction in predictions:
            for value in prediction.properties.values():
                assert value.sigma is None or value.sigma > 0
                assert value.confidence is None or 0 <= value.confidence <= 1
                assert value.confidence is None or value.quantiles
                widths = [
                    value.quantiles[level][1] - value.quantiles[level][0]
                    for level in sorted(value.quantiles)
                ]
                assert widths == sorted(widths)

    def test_batch_equals_one_by_one_in_order(
        self,
        model: PropertyModel,
        structures: Sequence[Structure],
        predictions: Sequence[Prediction],
    ) -> None:
        for structure, batched in zip(structures, predictions, strict=True):
            self._same(model.predict([structure])[0], batched)

    def test_repeats_itself(
        self,
        model: PropertyModel,
        structures: Sequence[Structure],
        predictions: Sequence[Prediction],
    ) -> None:
        for again, before in zip(model.predict(structures), predictions, strict=True):
            self._same(again, before)

    def test_supercell_and_order_do_not_matter(self, model: PropertyModel) -> None:
        if not self.sees_structure:
            pytest.skip("this model does not look at the structure")
        crystal = rocksalt()
        doubled = Structure(
            lattice=crystal.lattice * [[1], [2], [1]],
            species=crystal.species[::-1] * 2,
            frac_coords=np.vstack(
                [crystal.frac_coords[::-1], crystal.frac_coords[::-1] + np.array([0, 1, 0])]
            )
            / [1, 2, 1],
        )
        one, two = model.predict([crystal, doubled])
        self._same(two, one)

    def test_nothing_asked_nothing_answered(self, model: PropertyModel) -> None:
        assert model.predict([]) == []

    def test_a_misspelling_is_answered_with_the_name(self) -> None:
        with pytest.raises(NotFoundError) as caught:
            get_model(self.name + "x")
        assert self.name in str(caught.value.hint)

    def _same(self, one: Prediction, other: Prediction) -> None:
        for name, value in one.properties.items():
            assert value.value == pytest.approx(other.properties[name].value, abs=self.tolerance)
