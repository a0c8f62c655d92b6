"""The whole build: real tools on a small network, and what happens when something is wrong."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from axo import cli
from axo.errors import UserError
from axo.firmware import backends, build, evaluations
from axo.firmware.budget import read_budget
from axo.firmware.build import build_firmware
from axo.firmware.config import FirmwareConfig
from axo.firmware.context import BuildOptions
from axo.firmware.hls import library as abi
from axo.firmware.hls import project as hls
from axo.firmware.models import Model
from axo.firmware.report import read_report
from axo.firmware.rtl import simulate
from axo.firmware.tools import vendor
from axo.firmware.tools import yosys as synthesis
from axo.firmware.tools.reports import Latency, Resources, ToolReport
from axo.firmware.tools.run import ToolError
from axo.layout import find_layout
from axo.network import (
    Dense,
    FixedType,
    Linear,
    Network,
    Offset,
    Relu,
    Shift,
    SumOfSquares,
    digest,
    evaluate,
    write_network,
)
from axo.network.convention import WHOLE_GEV, pt_in_gev

ALL_KINDS = {"simulated", "random", "extreme", "overrange"}


def small_network(name="small", accumulator_bits=16):
    """57 words, one hidden layer of four, two outputs: every step of a real one, in little."""
    generator = np.random.default_rng(5)
    unscaled = FixedType(18, 13)
    weights = [generator.integers(-7, 8, shape) for shape in ((57, 4), (4, 2))]
    weights[0][generator.random((57, 4)) < 0.7] = 0
    biases = [generator.integers(-20, 21, n) for n in (4, 2)]
    offsets = np.where(np.arange(57) % 3 == 0, 9, 0)
    weight_type, bias_type = FixedType(6, 3), FixedType(10, 7)
    accumulator = FixedType(accumulator_bits + 6, accumulator_bits)
    score = FixedType(18, 14, False, "TRN", "SAT")
    operations = (
        *pt_in_gev(find_layout("cms_axol1tl"), WHOLE_GEV),
        Linear("unscaled", "halved", unscaled),
        Offset("centred", "unscaled", offsets, FixedType(10, 9), unscaled),
        Shift("scaled", "centred", np.where(np.arange(57) % 3 == 0, 2, 4)),
        Linear("network_input", "scaled", FixedType(8, 6, True, "RND_CONV", "SAT")),
        Dense("dense0", "network_input", weights[0], weight_type, biases[0], bias_type, accumulator),
        Relu("relu0", "dense0", FixedType(10, 6, False, "RND_CONV", "SAT")),
        Dense("dense1", "relu0", weights[1], weight_type, biases[1], bias_type, FixedType(22, 14)),
        Linear("embedding", "dense1", FixedType(10, 7, True, "RND_CONV", "SAT")),
        SumOfSquares("score", "embedding", FixedType(18, 14, False), score),
    )
    return Network(
        name, find_layout("cms_axol1tl"), operations, "score", "embedding", {"loose": 2000, "tight": 10000}
    )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """The exit code and folder of one real build, through the command line."""
    folder = tmp_path_factory.mktemp("build")
    write_network(folder / "small.json", small_network())
    arguments = ["firmware", str(folder / "small.json"), "--output", str(folder)]
    status = cli.main([*arguments, "--events", "3000", "--rtl-events", "1000", "--stages", "6"])
    return status, folder / "small"


def test_every_pair_agrees_on_every_kind_of_event(built):
    status, folder = built
    report = read_report(folder / "report.json")
    assert status == 0 and report["verdict"] == {"agree": True, "within_budget": True, "passed": True}
    took_part = {name for name, entry in report["evaluations"].items() if entry["absent"] is None}
    assert took_part == {"reference", "emulator", "library", "rtl", "rtl_gaps"}
    assert "model.keras" in report["evaluations"]["keras"]["absent"]
    assert len(report["comparisons"]) == 10
    for comparison in report["comparisons"]:
        assert comparison["mismatches"] == 0
        assert comparison["events"] >= 1000
        kinds = {kind for kind, events in comparison["events_by_kind"].items() if events}
        # Neither wires nor CMSSW's type carry words beyond the hardware.
        both = comparison["first"] + comparison["second"]
        narrow = "rtl" in both or "library" in both
        assert kinds == (ALL_KINDS - {"overrange"} if narrow else ALL_KINDS)


def test_the_report_says_what_was_measured_and_how(built):
    report = read_report(built[1] / "report.json")
    (latency,) = report["latency"]
    assert latency["source"] == "rtl" and latency["initiation_interval_cycles"] == 1
    assert latency["latency_ns"] == pytest.approx(latency["cycles"] * 1000 / latency["clock_mhz"])
    assert report["clock"]["clock_mhz"] == latency["clock_mhz"] and "margin" in report["clock"]["how_chosen"]
    (resources,) = report["resources"]
    assert resources["lut"] > 50 and resources["dsp"] == 0 and "no place and route" in resources["what"]
    assert report["network"]["sha256"] == digest(small_network())
    assert {"network.json", "small.so", "rtl/small_trigger.v"} <= set(report["digests"])
    assert report["tools"] and report["wall_s"]["total"] > 0
    page = (built[1] / "report.html").read_text()
    assert page.count("data:image/png;base64,") == 3 and "PASSED" in page


def test_the_report_names_the_layout_and_the_convention_of_pt(built):
    _, folder = built
    reads = "small reads 57 words of layout cms_axol1tl, pt whole GeV."
    assert f"{read_report(folder / 'report.json')['network']['reads']}." == reads.removeprefix("small reads ")
    assert reads in (folder / "report.md").read_text() and reads in (folder / "report.html").read_text()


def test_scores_of_the_network_reach_both_sides_of_the_thresholds(built):
    report = read_report(built[1] / "report.json")
    lowest, *_, highest = report["scores"]["random"]
    assert lowest < 2000 and highest > 10000


# What follows needs no tools: each implementation is replaced by one that answers from the reference.


@pytest.fixture
def instant(monkeypatch):
    """Stand-ins for the tools, correct unless a test breaks one; returns the answers to break."""
    faults: dict[str, int] = {}

    def answer(name, network, words):
        scores = evaluate(network, words)
        wrong = scores.score_word.copy()
        if name in faults:
            wrong[faults[name]] ^= 1
        return wrong, scores.embedding_word

    class Simulator:
        version = "stand-in"

        def run(self, words, thresholds, pattern, timeout_s):
            score, _ = answer("rtl", small_network(), words)
            bits = score[:, None] >= np.array(thresholds)
            in_force = np.tile(thresholds, (len(words), 1))
            rows = np.arange(len(words))
            return simulate.SimulationResult(rows, score, bits, in_force, 5, len(words), 0, 0, 0, 0.0)

    def emulate(project, words, thresholds):
        score, embedding = answer("emulator", project.network, words)
        return hls.Emulation(score, embedding, score[:, None] >= np.array(thresholds))

    monkeypatch.setattr(hls, "compile_emulator", lambda project, trace=False: None)
    monkeypatch.setattr(
        hls, "trace_emulator", lambda project, words: evaluate(project.network, words).tensors
    )
    monkeypatch.setattr(hls, "run_emulator", emulate)

    def compile_library(project, folder):
        folder.mkdir(exist_ok=True)
        (folder / "small.so").write_bytes(b"so")
        return abi.Library(folder / "small.so", folder / "client", project.network)

    monkeypatch.setattr(abi, "compile_library", compile_library)
    monkeypatch.setattr(abi, "run_library", lambda library, words: answer("library", small_network(), words))
    monkeypatch.setattr(simulate, "build_simulator", lambda *_, **__: Simulator())
    monkeypatch.setattr(synthesis, "find_yosys", lambda *_: None)
    return faults


def run_build(tmp_path, network=None, **options):
    network = network or small_network()
    model = Model(network.name, network, tmp_path / "small.json", None)
    settings = BuildOptions(tmp_path, n_events=400, n_rtl_events=200, **options)
    return build_firmware(model, settings, read_budget(), lambda text: None)


@pytest.mark.parametrize("broken", ["emulator", "library", "rtl"])
def test_one_wrong_event_fails_the_build_and_is_shown(instant, tmp_path, broken):
    instant[broken] = 7
    outcome = run_build(tmp_path)
    assert not outcome.document["verdict"]["agree"] and not outcome.document["verdict"]["passed"]
    text = (tmp_path / "small" / "mismatches.txt").read_text()
    assert f"{broken} " in text and "layer by layer" in text and "relu0" in text
    wrong = [entry for entry in outcome.document["comparisons"] if entry["mismatches"]]
    assert wrong and all(broken in entry["first"] + entry["second"] for entry in wrong)


def test_a_library_that_cannot_be_made_is_absent_with_the_reason(instant, tmp_path, monkeypatch):
    run_build(tmp_path)
    assert (tmp_path / "small/small.so").is_file()

    def refuse(project, folder):
        raise UserError("network 'small': CMSSW could not feed it")

    monkeypatch.setattr(abi, "compile_library", refuse)
    document = run_build(tmp_path).document
    assert document["evaluations"]["library"]["absent"] == "network 'small': CMSSW could not feed it"
    assert document["evaluations"]["library"]["events"] == 0
    assert document["verdict"]["agree"] and len(document["comparisons"]) == 6
    # Neither is the library of an earlier build taken for one of this network.
    assert "small.so" not in document["digests"] and not (tmp_path / "small/small.so").exists()


def test_a_compiler_that_fails_on_the_library_fails_the_build(instant, tmp_path, monkeypatch):
    def fail(project, folder):
        raise ToolError("g++: exit status 1")

    monkeypatch.setattr(abi, "compile_library", fail)
    with pytest.raises(ToolError, match="exit status 1"):
        run_build(tmp_path)
    assert not (tmp_path / "small/report.json").exists()


def test_without_verilator_the_rtl_is_absent_and_latency_unknown(instant, tmp_path, monkeypatch):
    def lack():
        raise UserError("verilator was not found; install it")

    monkeypatch.setattr(simulate, "require_tools", lack)
    document = run_build(tmp_path).document
    for name in ("rtl", "rtl_gaps"):
        assert document["evaluations"][name]["absent"] == "verilator was not found; install it"
    assert document["tools"]["verilator"] == "absent; verilator was not found; install it"
    assert document["latency"][0]["cycles"] is None


def test_evaluations_run_from_the_trained_model_to_the_wires(instant, tmp_path):
    document = run_build(tmp_path).document
    order = ["keras", "reference", "emulator", "library", "rtl", "rtl_gaps"]
    assert list(document["evaluations"]) == order
    pairs = [(entry["first"], entry["second"]) for entry in document["comparisons"]]
    assert pairs == [(a, b) for i, a in enumerate(order[1:]) for b in order[i + 2 :]]


def test_an_evaluation_or_a_backend_is_one_new_file(instant, tmp_path, monkeypatch):
    for package in (evaluations, backends):
        folder = tmp_path / package.__name__.rpartition(".")[2]
        folder.mkdir()
        monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    (tmp_path / "evaluations/extra.py").write_text("""
from axo.firmware.comparison import Result
from axo.firmware.stages import all_rows as ROWS, stimuli

SUMMARY, ORDER = "off by one in its first event", 9

def absent(context):
    return None

def run(context, rows):
    from axo.network import evaluate
    scores = evaluate(context.network, context.get(stimuli).words[rows]).score_word
    scores[0] ^= 1
    return Result("extra", rows, scores)
""")
    (tmp_path / "backends/ruler.py").write_text("""
from axo.firmware.backends import Figures
from axo.firmware.tools.reports import Resources

SUMMARY, BACKGROUND = "counts nothing", ()

def tools(context):
    return {"ruler": "found: here"}

def absent(context):
    return None

def run(context, results):
    return Figures(resources=(Resources("ruler", "results", lut=len(results)),))
""")
    document = run_build(tmp_path, backends=("ruler",)).document
    wrong = {entry["first"]: entry["mismatches"] for entry in document["comparisons"] if entry["mismatches"]}
    assert set(wrong.values()) == {1} and {"reference", "emulator", "library"} <= set(wrong)
    assert document["evaluations"]["extra"]["what"] == "off by one in its first event"
    assert [(entry["source"], entry["lut"]) for entry in document["resources"]] == [("ruler", 6)]
    assert document["tools"]["ruler"] == "found: here"


@pytest.mark.parametrize(
    ("backend", "says"),
    [
        ("vivdo", r"^unknown backend 'vivdo'; did you mean 'vivado'\? \(known: ecp5, rtl, vitis, vivado\)$"),
        ("vitis", "^vitis-run or vitis_hls was not found; install AMD Vitis"),
    ],
)
def test_a_backend_that_is_unknown_or_not_here_is_said_before_anything_is_done(
    instant, tmp_path, monkeypatch, backend, says
):
    monkeypatch.setattr(vendor, "find", lambda *_: None)
    with pytest.raises(UserError, match=says):
        run_build(tmp_path, backends=(backend,))
    assert not (tmp_path / "small/rtl").exists()


@pytest.mark.parametrize(("backend", "tool"), [("vitis", "vitis"), ("vivado", "vivado_hls")])
def test_what_the_vendors_tools_say_is_reported_as_theirs(instant, tmp_path, monkeypatch, backend, tool):
    """Stand-ins for the tools: what is tested is what they are asked, and where their figures go."""
    asked = {}

    def run_hls(folder, name, stage, **options):
        asked.update(folder=folder, name=name, stage=stage)
        latency = Latency(f"{stage} csynth", 9, 240.0, 37.5, 1)
        report = ToolReport(Path("csynth.xml"), "csynth", latency=latency, missing=("version",))
        return vendor.VendorResult(
            stage, vendor.DONE, "HLS is done", version="2023.1", reports={"csynth": report}
        )

    def implement(sources, top, folder, part, clock_mhz, **options):
        asked.update(top=top, clock_mhz=clock_mhz)
        report = ToolReport(
            Path("utilisation.rpt"), "vivado", resources=Resources("vivado", "placed", lut=812)
        )
        return vendor.VendorResult("implementation", vendor.DONE, "routed", reports={"utilisation": report})

    monkeypatch.setattr(vendor, "find", lambda stage, configured=None: Path(f"/opt/{stage}"))
    monkeypatch.setattr(vendor, "run_hls", run_hls)
    monkeypatch.setattr(vendor, "implement", implement)
    document = run_build(tmp_path, backends=(backend,)).document
    # Without Yosys no clock is claimed: the HLS project's is implemented.
    assert asked["stage"] == backend and asked["name"] == "small" and asked["clock_mhz"] == 240.0
    assert asked["top"] == "small_trigger"
    assert json.loads((asked["folder"] / "axo_hls.json").read_text())["config"]["backend"] == backend
    assert [entry["source"] for entry in document["latency"]] == ["rtl", f"{backend} csynth"]
    assert [(entry["source"], entry["lut"]) for entry in document["resources"]] == [("vivado", 812)]
    assert document["versions"][backend] == "2023.1"
    assert document["notes"][-3:] == ["HLS is done", "csynth.xml does not state version.", "routed"]
    assert document["tools"][tool] == f"found: /opt/{backend}"
    # The gates stay on the open flow's figures.
    values = {check["quantity"]: check["value"] for check in document["checks"]}
    assert values["lut"] is None and values["latency_ns"] is None


def test_synthesis_runs_beside_the_evaluations(instant, tmp_path, monkeypatch):
    synthesising, evaluating = threading.Event(), threading.Event()
    run_library = abi.run_library

    def synthesise(*_, **__):
        synthesising.set()
        assert evaluating.wait(60), "synthesis keeps the evaluations waiting"
        raise UserError("seen beside the evaluations")

    def run(*arguments):
        assert synthesising.wait(60), "the evaluations keep synthesis waiting"
        evaluating.set()
        return run_library(*arguments)

    monkeypatch.setattr(synthesis, "find_yosys", lambda *_: Path("yosys"))
    monkeypatch.setattr(synthesis, "synthesise", synthesise)
    monkeypatch.setattr(abi, "run_library", run)
    with pytest.raises(UserError, match="seen beside the evaluations"):
        run_build(tmp_path)


def test_a_build_that_fails_stops_the_tools_that_run_beside_it(instant, tmp_path, monkeypatch):
    stopped = threading.Event()

    def synthesise(*_, **__):
        assert stopped.wait(60), "was not stopped"
        raise ToolError("killed")

    def fail(*_):
        raise UserError("the evaluation failed")

    monkeypatch.setattr(synthesis, "find_yosys", lambda *_: Path("yosys"))
    monkeypatch.setattr(synthesis, "synthesise", synthesise)
    monkeypatch.setattr(abi, "run_library", fail)
    monkeypatch.setattr(build, "stop_running_tools", stopped.set)
    with pytest.raises(UserError, match="the evaluation failed"):
        run_build(tmp_path)
    assert stopped.is_set()


def test_the_strategy_of_the_configuration_reaches_the_hls_project(instant, tmp_path):
    outcome = run_build(tmp_path, config=FirmwareConfig(hls_strategy="resource"))
    assert outcome.document["verdict"]["agree"]
    firmware = tmp_path / "small/hls/firmware"
    assert "nnet::DenseResource_rf_leq_nin" in (firmware / "parameters.h").read_text()


def test_what_was_not_measured_is_not_within_budget(instant, tmp_path):
    outcome = run_build(tmp_path)
    assert outcome.document["verdict"] == {"agree": True, "within_budget": False, "passed": False}
    assert "absent" in outcome.document["tools"]["yosys"]
    values = {check["quantity"]: check["value"] for check in outcome.document["checks"] if check["gates"]}
    assert values["lut"] is None and values["latency_ns"] is None


@pytest.mark.parametrize("signal", [KeyboardInterrupt, UserError("tool failed")])
def test_an_interrupted_build_is_never_taken_for_a_finished_one(instant, tmp_path, monkeypatch, signal):
    run_build(tmp_path)
    assert (tmp_path / "small" / "report.json").is_file()

    def stop(*_):
        raise signal

    monkeypatch.setattr(abi, "run_library", stop)
    with pytest.raises(type(signal) if isinstance(signal, Exception) else signal):
        run_build(tmp_path)
    assert not list((tmp_path / "small").glob("report.*"))


def test_two_builds_do_not_share_a_folder(instant, tmp_path):
    (tmp_path / "small").mkdir()
    with build._locked(tmp_path / "small"), pytest.raises(UserError, match="another build is running"):
        run_build(tmp_path)


def test_an_accumulator_that_may_wrap_is_built_and_noted(instant, tmp_path):
    outcome = run_build(tmp_path, network=small_network(accumulator_bits=6))
    notes = [note for note in outcome.document["notes"] if "may wrap" in note]
    assert len(notes) == 1 and "'dense0'" in notes[0] and "can reach [" in notes[0]


def test_a_weight_out_of_its_type_is_refused(tmp_path, capsys):
    from axo.network.files import digest_document, to_document

    document = to_document(small_network())
    document["operations"][5]["weight"][3][1] = 99
    document["sha256"] = digest_document(document)
    path = tmp_path / "wild.json"
    path.write_text(json.dumps(document))
    assert cli.main(["firmware", str(path), "--output", str(tmp_path)]) == 2
    assert "weight[3, 1] = 99 is out of its type ap_fixed<6,3,TRN,WRAP>" in capsys.readouterr().err


def test_a_missing_compiler_is_one_clear_line(tmp_path, monkeypatch, capsys):
    write_network(tmp_path / "small.json", small_network())
    monkeypatch.setenv("PATH", str(tmp_path))
    assert cli.main(["firmware", str(tmp_path / "small.json"), "--output", str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert said.startswith("axo: error: g++ was not found") and "apt" in said and said.count("\n") == 1


def test_a_full_disk_is_one_clear_line(tmp_path, capsys):
    write_network(tmp_path / "small.json", small_network())
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    assert cli.main(["firmware", str(tmp_path / "small.json"), "--output", "/dev/full/build"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["no_such_model"], "neither a released model nor a network file"),
        (["small.json", "--events", "0"], "at least 1"),
        (["small.json", "--stages", "0"], "stages = 0"),
        (["small.json", "--clock-mhz", "-5"], "clock_mhz = -5.0 is not positive"),
        (["small.json", "--recorded", "nowhere.h5"], "nowhere.h5"),
        (["small.json", "--budget", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["small.json", "--backend", "vitsi"], "unknown backend 'vitsi'; did you mean 'vitis'?"),
    ],
)
def test_bad_arguments_are_one_clear_line(tmp_path, monkeypatch, capsys, arguments, says):
    write_network(tmp_path / "small.json", small_network())
    monkeypatch.chdir(tmp_path)
    assert cli.main(["firmware", *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said and said.count("\n") == 1
