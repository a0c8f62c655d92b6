"""The command line as its user meets it: help, exit codes, one clear line for bad input."""

import subprocess
import sys

import pytest

from axo import cli
from axo.network import read_network, write_network


def test_every_verb_has_help(capsys):
    for verb in cli.VERBS:
        with pytest.raises(SystemExit) as stop:
            cli.main([verb, "--help"])
        assert stop.value.code == 0
        assert "usage: axo " + verb in capsys.readouterr().out


def test_unknown_verb_suggests_the_nearest(capsys):
    assert cli.main(["firmwear", "axo_v3"]) == 2
    assert "did you mean 'firmware'?" in capsys.readouterr().err


def test_inspect_names_a_missing_file(capsys):
    assert cli.main(["inspect", "no/such.json"]) == 2
    assert capsys.readouterr().err.startswith("axo: error: no/such.json: cannot be read")


def test_inspect_imports_the_cms_description(production_network, shared, tmp_path, capsys):
    output = tmp_path / "v3.json"
    assert (
        cli.main(["inspect", "--cms", str(shared / "golden/axol1tl_v3.json"), "--output", str(output)]) == 0
    )
    shown = capsys.readouterr().out
    assert "score" in shown and "can reach" in shown and "pt convention: half kept" in shown
    write_network(tmp_path / "again.json", production_network)
    assert output.read_bytes() == (tmp_path / "again.json").read_bytes()


def test_inspect_makes_the_other_pt_convention(shared, tmp_path, capsys):
    source, whole, half = (str(tmp_path / f"{name}.json") for name in ("source", "whole", "half"))
    cli.main(["inspect", "--cms", str(shared / "golden/axol1tl_v3.json"), "--output", source])
    assert cli.main(["inspect", source, "--pt-convention", "whole-gev", "--output", whole]) == 0
    assert "pt convention: whole GeV" in capsys.readouterr().out
    assert cli.main(["inspect", whole, "--pt-convention", "half-kept", "--output", half]) == 0
    assert "pt convention: half kept" in capsys.readouterr().out
    first, again = read_network(source), read_network(half)
    assert [vars(o).keys() for o in first.operations] == [vars(o).keys() for o in again.operations]
    assert [(o.name, o.op, o.input) for o in first.operations] == [
        (o.name, o.op, o.input) for o in again.operations
    ]


def test_a_closed_pipe_is_no_error(golden_network, tmp_path):
    write_network(tmp_path / "v3.json", golden_network)
    command = f"{sys.executable} -m axo.cli inspect {tmp_path / 'v3.json'} | head -n 1"
    done = subprocess.run(
        ["bash", "-o", "pipefail", "-c", command], capture_output=True, text=True, timeout=60
    )
    assert "Traceback" not in done.stderr
