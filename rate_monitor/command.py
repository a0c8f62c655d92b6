"""Hold trigger rates at target alongside data taking, or show how controllers would have done.

  axo control control.yaml                        steer (see axo.rate_monitor.config for the file)
  axo control control.yaml --dry-run              propose and publish nothing
  axo control control.yaml --confirm              each change waits for a person's click on the page
  axo control --replay-journal control.sqlite     derive every decision again; say where it differs
  axo control --simulate FILL.csv                 run controllers through a recorded fill

Inputs: file:PATH (followed), folder:PATH, stdin, zmq:tcp://HOST:PORT. Outputs: file:PATH, an http address,
stdout. The page is at http://127.0.0.1:8270; commands on it need the token in the file that is named when
the service starts. The log goes to standard error, one JSON object a line. Stop with Ctrl-C or SIGTERM; a
restart goes on where it was, also after a crash.
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from axo.errors import UserError

from .simulate import add_simulation_arguments

if TYPE_CHECKING:
    from .config import ServiceConfig


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``axo control``."""
    parser.add_argument("config", nargs="?", help="YAML file that configures the service")
    parser.add_argument("--input", metavar="KIND:ADDRESS", help="where records come from")
    parser.add_argument("--output", metavar="WHERE", help="where thresholds go")
    parser.add_argument("--journal", metavar="FILE", help="the journal (made when it is not there)")
    parser.add_argument("--host", help="address that the page binds to (default: loopback)")
    parser.add_argument("--port", type=int, help="port of the page (0: any free one)")
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--dry-run", action="store_true", help="propose thresholds, publish none")
    mode.add_argument("--confirm", action="store_true", help="publish only what a person confirms")
    parser.add_argument("--replay-journal", metavar="FILE", help="derive every decision of a journal again")
    add_simulation_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run ``axo control``."""
    if args.simulate is not None:
        from .simulate import run_simulation

        return run_simulation(args)
    if args.replay_journal is not None:
        from .replay import print_replay, replay

        return print_replay(replay(args.replay_journal))
    if args.config is None:
        raise UserError("name a configuration, or --simulate or --replay-journal (see axo control --help)")
    return _serve(args)


def _serve(args: argparse.Namespace) -> int:
    import signal

    from .http import Server, read_token
    from .logs import log_to_standard_error, say
    from .service import Service

    config = _config(args)
    log_to_standard_error()
    token = read_token(config.token_path)
    service = Service(config)
    try:
        server = Server(service, config.http, token)
    except UserError:
        service.close()
        raise
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: service.stop())
    server.start()
    say("serving", page=server.address, token_file=str(config.token_path))
    try:
        service.run()
    finally:
        server.stop()
    return 0


def _config(args: argparse.Namespace) -> ServiceConfig:
    """The configuration file with what the command line says otherwise."""
    from dataclasses import replace

    from .config import read_service_config
    from .engine import CONFIRM, DRY_RUN

    config = read_service_config(args.config)
    http = {key: getattr(args, key) for key in ("host", "port") if getattr(args, key) is not None}
    given = {key: getattr(args, key) for key in ("input", "output", "journal") if getattr(args, key)}
    mode = DRY_RUN if args.dry_run else CONFIRM if args.confirm else config.mode
    return replace(config, **given, mode=mode, http=replace(config.http, **http))
