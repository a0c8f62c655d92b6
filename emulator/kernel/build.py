"""Compile a network's C source for this machine, once: the library is kept in a cache folder.

The cache key is a digest of everything that decides the machine code: the source (and so the
network and the generator), the compiler and its version, the flags and the CPU's features.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from axo.errors import UserError
from axo.files import replacing

# Shifts to the left push bits out at the top (WRAP of the headers) and sums wrap: -fwrapv defines both.
FLAGS = ("-std=gnu11", "-O3", "-march=native", "-fwrapv", "-fPIC", "-shared")
VNNI_FLAGS = ("-mprefer-vector-width=512",)
VNNI_FEATURES = {"avx512f", "avx512bw", "avx512dq", "avx512vl", "avx512_vnni"}


class NoCompiler(UserError):
    """There is no C compiler on this machine, or it cannot build a kernel."""


def find_compiler() -> Path | None:
    """The C compiler: $CC, else cc, gcc or clang on PATH; None when there is none."""
    for name in filter(None, (os.environ.get("CC"), "cc", "gcc", "clang")):
        found = shutil.which(name)
        if found:
            return Path(found)
    return None


@cache
def cpu_features() -> frozenset[str]:
    """What this CPU can do, as Linux names it; empty where that cannot be known."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = next((line for line in lines if line.startswith(("flags", "Features"))), ":")
    return frozenset(flags.split(":", 1)[1].split())


def has_vnni() -> bool:
    """Whether this CPU has the dot-product instructions that the fast path needs."""
    return cpu_features() >= VNNI_FEATURES


def cache_folder() -> Path:
    """Where kernels are kept: $AXO_CACHE, else $XDG_CACHE_HOME/axo, else ~/.cache/axo."""
    if os.environ.get("AXO_CACHE"):
        return Path(os.environ["AXO_CACHE"])
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "axo"


def library(source: str, vnni: bool) -> ctypes.CDLL:
    """The compiled `source`, from the cache when it is there.

    Several processes may build the same one at once: each writes under a temporary name, then
    renames. Raises NoCompiler when there is no compiler or it fails, UserError when the cache
    folder cannot be written or forbids loading from it.
    """
    compiler = find_compiler()
    if compiler is None:
        raise NoCompiler("no C compiler was found (tried $CC, cc, gcc, clang)")
    flags = (*FLAGS, *VNNI_FLAGS) if vnni else FLAGS
    path = cache_folder() / f"kernel-{_digest(source, compiler, flags)}.so"
    if not _is_whole(path):
        try:
            with replacing(path) as temporary:
                _compile(source, compiler, flags, temporary)
                _seal(temporary)
        except NoCompiler:
            raise
        except UserError as error:
            raise UserError(f"{error}: set AXO_CACHE to a folder for compiled kernels") from error
    try:
        return ctypes.CDLL(str(path))
    except OSError as error:
        raise UserError(
            f"{path}: cannot be loaded ({error}); set AXO_CACHE to a folder that may hold programs"
        ) from error


def _seal(path: Path) -> None:
    """Append the digest of the library to it: loading a damaged one would kill the process."""
    content = path.read_bytes()
    path.write_bytes(content + hashlib.sha256(content).digest())


def _is_whole(path: Path) -> bool:
    """Whether `path` is there and ends with the digest of what comes before."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    size = hashlib.sha256().digest_size
    return hashlib.sha256(content[:-size]).digest() == content[-size:]


def _digest(source: str, compiler: Path, flags: tuple[str, ...]) -> str:
    parts = (source, str(compiler), _version(compiler), *flags, platform.machine(), *sorted(cpu_features()))
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


@cache
def _version(compiler: Path) -> str:
    done = subprocess.run([compiler, "--version"], capture_output=True, text=True, timeout=60, check=False)
    return done.stdout


def _compile(source: str, compiler: Path, flags: tuple[str, ...], output: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="axo-kernel-") as folder:
        path = Path(folder) / "kernel.c"
        path.write_text(source)
        try:
            done = subprocess.run(
                [compiler, *flags, str(path), "-o", str(output)],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=600,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise NoCompiler(f"{compiler}: {error}") from error
    if done.returncode != 0:
        lines = [line for line in done.stderr.splitlines() if "error" in line] or ["no message"]
        raise NoCompiler(f"{compiler}: exit status {done.returncode}: {lines[0].strip()[:300]}")
