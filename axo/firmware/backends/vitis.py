"""The vendor's flow with Vitis HLS: C synthesis, co-simulation, and Vivado's implementation of the RTL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from axo.firmware.backends import Figures, _vendor
from axo.firmware.comparison import Result
from axo.firmware.context import Context

SUMMARY = "the vendor's tools, with Vitis HLS"
BACKGROUND = ()


def tools(context: Context) -> Mapping[str, str]:
    """Vitis HLS and Vivado."""
    return _vendor.tools(context, "vitis", "vitis", context.config.vendor.vitis)


def absent(context: Context) -> str | None:
    """Without Vitis HLS."""
    return _vendor.absent("vitis", context.config.vendor.vitis)


def run(context: Context, results: Sequence[Result]) -> Figures:
    """What the tools report."""
    return _vendor.run(context, "vitis", context.config.vendor.vitis)
