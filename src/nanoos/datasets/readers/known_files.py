"""Files of others whose columns and level of theory are known from where they come from."""

from collections.abc import Mapping, Sequence
from typing import Final

from nanoos.core.records import LevelOfTheory
from nanoos.datasets.property_columns import PROPERTY_UNITS, TargetColumn

Known = tuple[str, Sequence[TargetColumn] | None, Mapping[str, LevelOfTheory]]

_ELEMENTS: Final = "elements"
_MP: Final = LevelOfTheory(functional="PBE/PBE+U", corrections="none", reference="none")
_MP_ENERGY: Final = LevelOfTheory(
    functional="PBE/PBE+U", corrections="MP legacy", reference=_ELEMENTS
)
_PBE: Final = LevelOfTheory(functional="PBE", corrections="none", reference="none")
_PBESOL: Final = LevelOfTheory(functional="PBEsol", corrections="none", reference="none")
_OPT: Final = LevelOfTheory(functional="OptB88vdW", corrections="none", reference="none")
_OPT_ENERGY: Final = LevelOfTheory(functional="OptB88vdW", corrections="none", reference=_ELEMENTS)
_RPBE_PEROVSKITES: Final = LevelOfTheory(
    functional="RPBE", corrections="none", reference="elements, O from water"
)


def _column(
    target: str, column: str, *, unit: str | None = None, log10: bool = False, factor: float = 1.0
) -> TargetColumn:
    return TargetColumn(
        target=target,
        column=column,
        unit=unit or PROPERTY_UNITS[target],
        factor=factor,
        log10=log10,
    )


MATBENCH: Final[Mapping[str, tuple[TargetColumn, LevelOfTheory]]] = {
    "matbench_dielectric": (_column("refractive_index", "n"), _PBE),
    "matbench_jdft2d": (
        _column("exfoliation_energy", "exfoliation_en", unit="meV/atom"),
        _OPT,
    ),
    "matbench_log_gvrh": (_column("shear_modulus", "log10(G_VRH)", log10=True), _PBE),
    "matbench_log_kvrh": (_column("bulk_modulus", "log10(K_VRH)", log10=True), _PBE),
    "matbench_mp_e_form": (_column("formation_energy", "e_form"), _MP_ENERGY),
    "matbench_mp_gap": (_column("bandgap", "gap pbe"), _MP),
    "matbench_mp_is_metal": (_column("is_metal", "is_metal"), _MP),
    "matbench_perovskites": (
        _column("formation_energy_per_cell", "e_form", unit="eV"),
        _RPBE_PEROVSKITES,
    ),
    "matbench_phonons": (_column("last_phonon_peak", "last phdos peak"), _PBESOL),
}
"""Task to its target and what that means. Ref: Dunn et al. 2020, 10.1038/s41524-020-00406-3.

The tasks on compositions (experimental gaps, glasses, steels) have no structures.
"""

JARVIS_COLUMNS: Final[Sequence[tuple[TargetColumn, LevelOfTheory]]] = (
    (_column("formation_energy", "formation_energy_peratom"), _OPT_ENERGY),
    (_column("bandgap", "optb88vdw_bandgap"), _OPT),
    (_column("e_above_hull", "ehull"), _OPT_ENERGY),
    (_column("bulk_modulus", "bulk_modulus_kv"), _OPT),
    (_column("shear_modulus", "shear_modulus_gv"), _OPT),
)
"""Of JARVIS-DFT (moduli: Voigt averages). Ref: Choudhary et al. 2020, 10.1038/s41524-020-00440-1."""


def known_columns(name: str, columns: Sequence[str]) -> Known:
    """What is known of a file: kind of its rows, targets (None: guess), levels of theory."""
    task = name.partition(".")[0]
    if task in MATBENCH and MATBENCH[task][0].column in columns:
        target, level = MATBENCH[task]
        return "matbench", [target], {target.target: level}
    if "jid" in columns and "atoms" in columns:
        present = [(one, level) for one, level in JARVIS_COLUMNS if one.column in columns]
        if present:
            targets = [one for one, _ in present]
            return "jarvis", targets, {one.target: level for one, level in present}
    return "file", None, {}
