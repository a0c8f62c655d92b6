"""One way to find plug-ins: what is listed, what is loaded, and one line for what cannot be."""

import importlib
import inspect
import subprocess
import sys

import pytest

from axo.controllers.make import ALGORITHMS
from axo.decorrelators.method import METHODS
from axo.errors import UserError
from axo.events.sources import SOURCES, Source
from axo.firmware.backends import BACKENDS, Backend
from axo.firmware.evaluations import EVALUATIONS, Evaluation
from axo.models.family import FAMILIES
from axo.plugins import Plugins
from axo.rate_monitor.inputs import INPUTS, InputModule

ALL = {
    "families": (FAMILIES, ["fad", "nae", "vae", "vicreg"]),
    "methods": (METHODS, ["decade", "disco"]),
    "sources": (SOURCES, ["adc2021", "toolkit", "ugt"]),
    "controllers": (ALGORITHMS, ["fixed", "log_pi", "menu", "pd", "predictive"]),
    "inputs": (INPUTS, ["file", "folder", "stdin", "zmq"]),
    "evaluations": (EVALUATIONS, ["emulator", "keras", "library", "reference", "rtl", "rtl_gaps"]),
    "backends": (BACKENDS, ["ecp5", "rtl", "vitis", "vivado"]),
}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of plug-ins to fill: ``write(name, text)``, and the Plugins over it."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        monkeypatch.delitem(sys.modules, name)
    importlib.invalidate_caches()

    def write(name, text):
        (folder / f"{name}.py").write_text(text)

    yield write, Plugins("shelf", "jar", ("LABEL",))
    for name in [name for name in sys.modules if name.partition(".")[0] == "shelf"]:
        del sys.modules[name]


@pytest.mark.parametrize("kind", ALL)
def test_every_kind_is_found_by_the_names_of_its_files(kind):
    plugins, names = ALL[kind]
    assert plugins.names() == names


@pytest.mark.parametrize("kind", ALL)
def test_every_plug_in_loads_and_an_unknown_one_names_the_nearest(kind):
    plugins, names = ALL[kind]
    assert list(plugins.load_all()) == names
    with pytest.raises(UserError, match=rf"^here: unknown {plugins.kind} .*did you mean '{names[-1]}'\?"):
        plugins.load(names[-1] + "e", "here")


PROTOCOLS = {"evaluations": Evaluation, "backends": Backend, "sources": Source, "inputs": InputModule}


@pytest.mark.parametrize("kind", PROTOCOLS)
def test_every_plug_in_takes_what_its_protocol_says(kind):
    functions = {name: item for name, item in vars(PROTOCOLS[kind]).items() if inspect.isfunction(item)}
    for name, plugin in ALL[kind][0].load_all().items():
        for function, said in functions.items():
            if function.startswith("_"):
                continue
            _, *expected = inspect.signature(said).parameters
            assert [*inspect.signature(getattr(plugin, function)).parameters] == expected, (name, function)


def test_a_new_file_is_a_plug_in_and_a_helper_is_none(package):
    write, jars = package
    assert jars.names() == []
    write("honey", "LABEL = 'sweet'")
    write("_lids", "raise AssertionError('a helper is not loaded')")
    assert jars.names() == ["honey"]
    assert jars.load("honey").LABEL == "sweet"
    assert list(jars.load_all()) == ["honey"]


def test_listing_imports_no_plug_in(package):
    write, jars = package
    write("broken", "raise AssertionError('was imported')")
    assert jars.names() == ["broken"]
    assert "shelf.broken" not in sys.modules


def test_a_package_that_is_not_installed_is_one_line_with_the_mend(package):
    write, jars = package
    write("salted", "import no_such_package.deep")
    write("known", "raise ModuleNotFoundError('gone', name='tensorflow.python')")
    with pytest.raises(UserError, match=r"^jar 'salted' needs the Python package 'no_such_package', which"):
        jars.load("salted")
    with pytest.raises(UserError, match=r"'tensorflow', which is not installed; pip install 'axo\[train\]'$"):
        jars.load("known")


def test_a_fault_of_ours_is_not_dressed_up(package):
    write, jars = package
    write("faulty", "import axo.no_such_module")
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        jars.load("faulty")


def test_a_file_that_is_no_plug_in_is_named(package):
    write, jars = package
    write("empty", "")
    with pytest.raises(UserError, match=r"shelf/empty\.py: is no jar: it has no LABEL$"):
        jars.load("empty")


def test_names_of_model_families_need_no_tensorflow():
    code = (
        "import sys\nfrom axo.models.family import family_names\nfrom axo.decorrelators.method import "
        "method_names\nassert family_names() and method_names()\nassert 'tensorflow' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
