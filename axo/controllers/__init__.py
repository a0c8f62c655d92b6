"""Threshold controllers, one file each in algorithms/: pure state to state, no clock, no I/O."""

from axo.controllers.interface import (
    Alarm,
    Controller,
    ControllerConfig,
    Decision,
    Measurement,
    ScoreCounts,
    SeedConfig,
    SeedDecision,
    SeedMeasurement,
    State,
    config_from_json,
    decision_from_json,
    measurement_from_json,
    state_from_json,
    state_to_json,
)
from axo.controllers.make import controller_names, make_controller

__all__ = [
    "Alarm",
    "Controller",
    "ControllerConfig",
    "Decision",
    "Measurement",
    "ScoreCounts",
    "SeedConfig",
    "SeedDecision",
    "SeedMeasurement",
    "State",
    "config_from_json",
    "controller_names",
    "decision_from_json",
    "make_controller",
    "measurement_from_json",
    "state_from_json",
    "state_to_json",
]
