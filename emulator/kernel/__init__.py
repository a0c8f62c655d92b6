"""The fast exact kernel: a network compiled for this machine, bit-identical to the reference."""

from axo.emulator.kernel.kernel import BACKENDS, Kernel

__all__ = ["BACKENDS", "Kernel"]
