"""The service's configuration: a YAML file with everything it needs to know."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from axo.config import read_config, to_plain
from axo.controllers.interface import ControllerConfig
from axo.errors import UserError
from axo.physics.rates import LUMI_SECTION_S

from .engine import APPLY, MODES, Settings


@dataclass(frozen=True)
class HttpConfig:
    """Where the page, the metrics and the health endpoints are served.

    Writes need the token in `token_file` (made, readable by its owner only, when it is not there; by
    default beside the journal). `origins` are addresses beyond the bound one under which people open the
    page, as ``https://control.example.org`` behind a proxy.
    """

    host: str = "127.0.0.1"
    port: int = 8270
    token_file: str | None = None
    origins: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65535:
            raise UserError(f"port {self.port}: must be 0 (any free one) to 65535")
        for origin in self.origins:
            if not origin.startswith(("http://", "https://")) or origin.count("/") != 2:
                raise UserError(f"origins: write {origin!r} as https://HOST or https://HOST:PORT")


@dataclass(frozen=True)
class ServiceConfig:
    """The whole service. `control` holds the seeds, targets and limits (see ControllerConfig).

    `input` is KIND:ADDRESS (see `axo.rate_monitor.inputs`), `output` file:PATH, an http(s) address or
    stdout (see `axo.rate_monitor.sinks`), `network` the model whose scores are cut on (a name, folder or
    network file), journalled by its digest. Records are stale after `stale_after_s` seconds without a good
    one. `mode` is apply, confirm (a person confirms each change) or dry-run (nothing is published).
    `score_tables` name, by seed, the zero-bias counts that `predictive` and `menu` start from (files of
    ``python -m axo.rate_monitor.scenarios.count``): their fits become the controller's option ``models``.
    """

    controller: str
    control: ControllerConfig
    input: str = "stdin"
    output: str = "stdout"
    journal: str = "control.sqlite"
    network: str | None = None
    mode: str = APPLY
    stale_after_s: float = 3 * LUMI_SECTION_S
    http: HttpConfig = field(default_factory=HttpConfig)
    score_tables: dict[str, str] | None = None

    def __post_init__(self) -> None:
        if self.score_tables is not None and "models" in self.control.options:
            raise UserError("give score_tables or the option models, not both")
        if not self.stale_after_s > 0:
            raise UserError(f"stale_after_s must be above 0, not {self.stale_after_s}")
        if self.mode not in MODES:
            raise UserError(f"mode {self.mode!r}: choose {', '.join(MODES)}")

    def settings(self) -> Settings:
        """What of this shapes decisions. UserError for an unknown controller, wrong options or no network."""
        control = self.control
        if self.score_tables is not None:
            options = {**control.options, "models": _models(self.score_tables)}
            control = replace(control, options=options)
        return Settings.of(self.controller, control, self.mode, _network_digest(self.network))

    @property
    def token_path(self) -> Path:
        """The file of the token that writes need."""
        return Path(self.http.token_file or self.journal + ".token")


def read_service_config(path: str | os.PathLike[str]) -> ServiceConfig:
    """Read the YAML file `path`; UserError names the file and key of a fault."""
    return read_config(path, ServiceConfig)


def _models(tables: dict[str, str]) -> dict[str, Any]:
    from axo.physics.pileup_model import fit_tail, read_score_by_pileup

    return {seed: to_plain(fit_tail(read_score_by_pileup(path))) for seed, path in tables.items()}


def _network_digest(name: str | None) -> str:
    if name is None:
        return ""
    from axo.firmware.models import find_model
    from axo.network import digest

    return digest(find_model(name).network)
