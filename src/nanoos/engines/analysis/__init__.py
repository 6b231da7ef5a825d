"""What a trajectory says: structure, motion, vibrations, and errors of averages."""

from nanoos.engines.analysis.blocking import BlockAverage, block_average, blocking_curve
from nanoos.engines.analysis.diffusion import (
    Diffusion,
    MeanSquaredDisplacement,
    diffusion_coefficient,
    mean_squared_displacement,
)
from nanoos.engines.analysis.rdf import (
    PairCounts,
    RadialDistribution,
    Shell,
    check_distance,
    check_pairs,
    first_shell,
    radial_distribution,
)
from nanoos.engines.analysis.report import ANALYSES, AnalysisReport, analyze
from nanoos.engines.analysis.trajectory import Trajectory, read_trajectory, unwrapped
from nanoos.engines.analysis.vibrations import VibrationalDensity, vibrational_density

__all__ = [
    "ANALYSES",
    "AnalysisReport",
    "BlockAverage",
    "Diffusion",
    "MeanSquaredDisplacement",
    "PairCounts",
    "RadialDistribution",
    "Shell",
    "Trajectory",
    "VibrationalDensity",
    "analyze",
    "block_average",
    "blocking_curve",
    "check_distance",
    "check_pairs",
    "diffusion_coefficient",
    "first_shell",
    "mean_squared_displacement",
    "radial_distribution",
    "read_trajectory",
    "unwrapped",
    "vibrational_density",
]
