"""How firmware is built: dataclasses read from YAML."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from axo.config import read_config
from axo.errors import UserError
from axo.firmware.hls.core import require_strategy


@dataclass(frozen=True)
class RtlSettings:
    """Pipeline `stages` and the `language` simulated and synthesised."""

    stages: int = 2
    language: str = "verilog"


@dataclass(frozen=True)
class SynthesisSettings:
    """Yosys: Xilinx `family`, whether DSP blocks may be used, time-out in seconds."""

    family: str = "xcup"
    use_dsp: bool = False
    timeout_s: float = 2400


@dataclass(frozen=True)
class TimeOut:
    """A tool's time-out in seconds."""

    timeout_s: float


@dataclass(frozen=True)
class VendorSettings:
    """Executables of the vendor's tools (None: look on PATH) and their time-out in seconds."""

    timeout_s: float = 14400
    vitis: str | None = None
    vivado_hls: str | None = None
    vivado: str | None = None


@dataclass(frozen=True)
class FirmwareConfig:
    """Settings of one firmware build; `clock_mhz` None lets the logic depth decide.

    `hls_clock_mhz` is what the HLS project asks its tool for, `hls_strategy` hls4ml's for dense layers.

    Raises UserError for a clock or a number of stages that is not positive, or an unknown strategy.
    """

    part: str = "xcvu9p-flga2104-2L-e"
    clock_mhz: float | None = None
    hls_clock_mhz: float = 240.0
    hls_strategy: str = "latency"
    rtl: RtlSettings = field(default_factory=RtlSettings)
    synthesis: SynthesisSettings = field(default_factory=SynthesisSettings)
    simulation: TimeOut = field(default_factory=lambda: TimeOut(1200))
    ecp5: TimeOut = field(default_factory=lambda: TimeOut(3600))
    vendor: VendorSettings = field(default_factory=VendorSettings)

    def __post_init__(self) -> None:
        for key in ("clock_mhz", "hls_clock_mhz"):
            value = getattr(self, key)
            if value is not None and not value > 0:
                raise UserError(f"{key} = {value} is not positive")
        require_strategy(self.hls_strategy, "hls_strategy")
        if self.rtl.stages < 1:
            raise UserError(f"rtl: stages = {self.rtl.stages} is not at least 1")


def read_firmware_config(path: str | os.PathLike[str] | None = None) -> FirmwareConfig:
    """Read a configuration (default: the one that ships with axo); absent keys keep their defaults."""
    shipped = Path(str(resources.files("axo.firmware").joinpath("firmware.yaml")))
    return read_config(shipped if path is None else path, FirmwareConfig)
