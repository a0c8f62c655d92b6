"""Simulated fills: real pileup profiles, exact rates, Poisson counts, and faults; the same for a seed."""

from .faults import FAULTS, Fault, read_faults, standard_faults
from .oracle import Oracle
from .simulator import Condition, Scenario, Trace, simulate
from .truth import SeedTruth, shipped_counts

__all__ = [
    "FAULTS",
    "Condition",
    "Fault",
    "Oracle",
    "Scenario",
    "SeedTruth",
    "Trace",
    "read_faults",
    "shipped_counts",
    "simulate",
    "standard_faults",
]
