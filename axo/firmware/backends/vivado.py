"""The vendor's flow with Vivado HLS: C synthesis, co-simulation, and Vivado's implementation of the RTL."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from axo.firmware.backends import Figures, _vendor
from axo.firmware.comparison import Result
from axo.firmware.context import Context

SUMMARY = "the vendor's tools, with Vivado HLS"
BACKGROUND = ()


def tools(context: Context) -> Mapping[str, str]:
    """Vivado HLS and Vivado."""
    return _vendor.tools(context, "vivado", "vivado_hls", context.config.vendor.vivado_hls)


def absent(context: Context) -> str | None:
    """Without Vivado HLS."""
    return _vendor.absent("vivado", context.config.vendor.vivado_hls)


def run(context: Context, results: Sequence[Result]) -> Figures:
    """What the tools report."""
    return _vendor.run(context, "vivado", context.config.vendor.vivado_hls)
