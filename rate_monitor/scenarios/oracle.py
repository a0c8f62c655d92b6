"""What could be done at best with the same delay: the true rate curve, and every past pileup.

The oracle inverts the true curve, faults included as soon as their lumi section is over, at the pileup
it expects: that of the last lumi section (`Oracle.last`), or the forecast of the predictive controller
(`Oracle.forecast`), which is better in emittance scans. A controller's bar is the better of the two.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from axo.controllers import Decision, Measurement, SeedDecision
from axo.controllers._pileup import PileupState, expected_pileup, initial_pileup, observe_pileup

from .simulator import Scenario

PILEUP_FLOOR = 20.0
"""Lumi sections of less pileup count nowhere, and move no threshold."""


def _last(past: PileupState) -> float | None:
    """The newest pileup that counts."""
    return past["recent"][-1] if past["recent"] else None


class Oracle:
    """Plays a scenario knowing its truth; needs no records, but is down when a controller would be."""

    def __init__(
        self,
        name: str,
        scenario: Scenario,
        target_khz: float,
        initial_word: int,
        delay: int,
        expect: Callable[[PileupState], float | None],
    ) -> None:
        self.name = name
        self._scenario = scenario
        self._conditions = {c.lumi_section: c for c in scenario.conditions}
        self._target_khz = target_khz
        self._word = initial_word
        self._delay = delay
        self._expect = expect
        self._past = initial_pileup()

    @classmethod
    def last(cls, scenario: Scenario, target_khz: float, initial_word: int, delay: int = 2) -> Oracle:
        """The oracle that expects the pileup to stay."""
        return cls("oracle", scenario, target_khz, initial_word, delay, _last)

    @classmethod
    def forecast(cls, scenario: Scenario, target_khz: float, initial_word: int, delay: int = 2) -> Oracle:
        """The oracle that expects what `predictive` expects."""
        return cls(
            "oracle_forecast",
            scenario,
            target_khz,
            initial_word,
            delay,
            expected_pileup,
        )

    def start(self) -> int:
        """The threshold that the controllers start with, too."""
        return self._word

    def records(self, section: int, records: Sequence[Measurement]) -> list[Decision]:
        """One decision a lumi section, whatever became of its record."""
        condition = self._conditions[section]
        self._past = observe_pileup(self._past, condition.pileup, PILEUP_FLOOR)
        truth = self._scenario.truth
        expected = self._expect(self._past)
        before = self._word
        if expected is not None:
            self._word = round(truth.word(self._target_khz, expected, condition.factor))
        seed = SeedDecision(
            self._scenario.seed_name,
            self._word,
            before,
            "auto",
            "knows the truth",
            None,
            self._target_khz,
            None,
        )
        return [Decision(self._scenario.run, section, section + self._delay, True, (seed,))]
