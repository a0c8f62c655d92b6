"""The vendor's tools: C synthesis and co-simulation of the HLS project, implementation of the RTL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from axo.firmware import stages
from axo.firmware.backends import Figures
from axo.firmware.context import Context, Journal

if TYPE_CHECKING:
    from axo.firmware.tools.vendor import VendorResult


def tools(context: Context, stage: str, name: str, configured: str | None) -> Mapping[str, str]:
    """States of the HLS tool of `stage`, called `name` in reports, and of Vivado."""
    return {
        name: _state(stage, configured),
        "vivado": _state("implementation", context.config.vendor.vivado),
    }


def _state(stage: str, configured: str | None) -> str:
    from axo.firmware.tools import vendor

    found = vendor.find(stage, configured)
    return f"found: {found}" if found else f"absent; {vendor.MENDS[stage]}"


def absent(stage: str, configured: str | None) -> str | None:
    """Why there is no HLS tool of `stage`; Vivado may be absent, which the report then says."""
    from axo.firmware.tools import vendor

    return None if vendor.find(stage, configured) else vendor.why_absent(stage)


def run(context: Context, stage: str, configured: str | None) -> Figures:
    """C synthesis and co-simulation of the HLS project, and Vivado's implementation of the RTL."""
    from axo.firmware.tools import vendor

    settings, journal = context.config.vendor, context.journal
    project, design = context.get(stages.hls_project), context.get(stages.rtl_design)
    with journal.step(f"{stage}: C synthesis and co-simulation"):
        synthesised = vendor.run_hls(
            project.folder,
            project.name,
            stage,
            steps=vendor.HlsSteps(csim=True, cosim=True),
            configured=configured,
            required=True,
            timeout_s=settings.timeout_s,
        )
    clock = context.get(stages.clock)
    with journal.step("vivado: implementation of the RTL"):
        implemented = vendor.implement(
            design.files,
            design.top,
            context.folder / "vivado",
            context.config.part,
            clock.clock_mhz if clock else context.config.hls_clock_mhz,
            configured=settings.vivado,
            timeout_s=settings.timeout_s,
        )
    return _figures([synthesised, implemented], journal)


def _figures(results: list[VendorResult], journal: Journal) -> Figures:
    reports = []
    for result in results:
        journal.notes.append(result.message)
        if result.version is not None:
            journal.versions[result.stage] = result.version
        for report in result.reports.values():
            reports.append(report)
            path: Path = report.path
            journal.notes.extend(f"{path.name} does not state {field}." for field in report.missing)
    return Figures(
        tuple(report.latency for report in reports if report.latency is not None),
        tuple(report.resources for report in reports if report.resources is not None),
    )
