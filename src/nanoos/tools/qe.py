"""Quantum ESPRESSO's pw.x as qepy ships it: a numpy of its own, and no compiler needed."""

from typing import Final

from nanoos.tools.spec import ToolSpec

QE: Final = ToolSpec(
    name="QE",
    purpose="Density functional theory: pw.x of Quantum ESPRESSO 7.2.",
    requirements=("qepy==7.2.0",),
    distribution="qepy",
    imports=("qepy",),
    license="GPL-3.0",
    size_mb=140,
)
