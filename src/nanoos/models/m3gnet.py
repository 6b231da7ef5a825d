"""Formation energies of M3GNet, against the elements of the same potential."""

import hashlib
from functools import cache
from importlib.resources import files
from importlib.util import find_spec

from nanoos.core.records import LevelOfTheory
from nanoos.models.base import ModelInfo, TestError
from nanoos.models.formation_energy import PROPERTY, UNIT, PotentialFormationEnergy
from nanoos.potentials.installed_weights import find_weights, how_to_get, require_weights

_WEIGHTS = "M3GNet-MP-2021.2.8-PES"


class M3GNetFormationEnergy(PotentialFormationEnergy):
    """M3GNet of matgl, trained on relaxations of the Materials Project."""

    potential_name = "M3GNET"
    version = "MP-2021.2.8"
    level_of_theory = LevelOfTheory(
        functional="PBE/PBE+U", corrections="none", reference="M3GNET MP-2021.2.8 elements"
    )
    description = (
        "Formation energy from the universal potential M3GNet, against its own relaxed elements. "
        "Its energies carry no MP2020 correction."
    )
    license = "BSD-3-Clause"
    package = "matgl"
    published = (
        TestError(
            mae=0.0237,
            unit=UNIT,
            n=18584,
            source="total energy on the authors' validation split of MP-2021.2.8 (card of matgl)",
            seen_in_training=False,
        ),
        TestError(
            mae=0.0200,
            unit=UNIT,
            n=167237,
            source="total energy on the authors' training split of MP-2021.2.8 (card of matgl)",
            seen_in_training=True,
        ),
    )

    def info(self) -> ModelInfo:
        """What the model is, without loading torch."""
        weights = find_weights(_WEIGHTS)
        installed = find_spec("matgl") is not None
        here = weights is not None and installed
        missing = "its published weights are not on this machine"
        return ModelInfo(
            name=self.potential_name,
            version=self.version,
            available=here,
            description=self.description,
            supported_properties=(PROPERTY,),
            weights_sha256=self.weights_sha256 if here else None,
            test_error={PROPERTY: self.published},
            level_of_theory={PROPERTY: self.level_of_theory},
            notes=self.NOTES,
            license=self.license,
            seen_in_training="MPF.2021.2.8: relaxations of 63,000 Materials Project crystals",
            unavailable_reason=None if here else (missing if installed else "matgl is missing"),
            install_command=(
                None if here else how_to_get(_WEIGHTS) if installed else "pip install 'nanoos[ml]'"
            ),
        )

    @property
    def weights_sha256(self) -> str:  # not cached: weights come and go
        """Hash over the weights and the table of elements: both shape the number."""
        joined = f"{require_weights(_WEIGHTS).sha256} {_table_sha256()}"
        return hashlib.sha256(joined.encode()).hexdigest()


@cache
def _table_sha256() -> str:
    resource = files("nanoos.potentials") / "data" / "references_m3gnet.json"
    return hashlib.sha256(resource.read_bytes()).hexdigest()
