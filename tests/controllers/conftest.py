import pytest

from axo.config import to_plain
from axo.physics.pileup_model import TailFit


@pytest.fixture(scope="session")
def tail_fit():
    """A tail that falls by e in about 800 words and rises with about the fourth power of pileup."""
    return TailFit(
        knots=(500.0, 1300.0, 2100.0, 2900.0, 3700.0),
        start=(1.3, -0.9, 0.0, 0.0, 0.0),
        steps=((0.0, -0.2), (0.0, -0.2), (0.0, -0.2), (0.0, -0.2)),
    )


@pytest.fixture(scope="session")
def tail_options(tail_fit):
    """Options of predictive for a seed AXO with that tail."""
    return {"models": {"AXO": to_plain(tail_fit)}}
