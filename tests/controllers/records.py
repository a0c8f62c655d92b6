"""Lumi-section records for tests of controllers."""

from axo.controllers import Measurement, SeedMeasurement

LIVE_S = 20.0


def record(
    section,
    rate_khz=1.0,
    word=3000,
    *,
    names=("AXO",),
    run=1,
    pileup=60.0,
    prescale=1.0,
    live_fraction=1.0,
    histogram=None,
    pure=None,
    total=None,
):
    """A record whose seeds all have `rate_khz` before prescale, counted over LIVE_S seconds."""
    passed = round(rate_khz * 1000 * LIVE_S * live_fraction / prescale)
    seeds = tuple(SeedMeasurement(name, word, float(passed), prescale, pure, histogram) for name in names)
    return Measurement(run, section, pileup, 2400, seeds, None, LIVE_S, live_fraction, total)
