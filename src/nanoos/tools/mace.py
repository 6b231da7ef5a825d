"""MACE, which pins an e3nn that the potentials of the main environment cannot use."""

from typing import Final

from nanoos.tools.spec import PROGRAMS, ToolSpec

MACE: Final = ToolSpec(
    name="MACE",
    purpose="Energies, forces and stresses of MACE potentials.",
    requirements=("mace-torch==0.3.16", "safetensors>=0.5"),
    distribution="mace-torch",
    imports=("mace.modules", "torch", "safetensors"),
    license="MIT",
    size_mb=600,
    shares=("torch",),
    program=PROGRAMS / "mace_energies.py",
)
