"""Prometheus metrics of the service; alert rules and a Grafana dashboard for them lie beside this file.

Rates are before prescale. A rate that is not known is NaN, never 0 and never the last one known.
"""

from __future__ import annotations

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from .view import SeedPoint

LATENCY_BUCKETS_S = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Metrics:
    """All metrics, in `registry` (a new one of its own unless given)."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._seed_gauges = {
            "rate_hz": self._gauge("axo_rate_hertz", "Rate of the seed, before prescale", "seed"),
            "pure_rate_hz": self._gauge("axo_pure_rate_hertz", "Rate of the seed's pure events", "seed"),
            "target_hz": self._gauge("axo_target_hertz", "Target of the steered rate", "seed"),
            "word": self._gauge("axo_threshold_word", "Threshold decided last, a score word", "seed"),
            "in_band": self._gauge("axo_in_band", "1: the steered rate is in band; NaN: not known", "seed"),
            "automatic": self._gauge("axo_automatic", "1: the controller steers; 0: a person does", "seed"),
        }
        self._by_seed: dict[str, tuple[dict[str, Gauge], Counter]] = {}
        self._changes = self._counter("axo_threshold_changes", "Threshold changes decided", "seed")
        self.run = self._gauge("axo_run", "Run of the last good record")
        self.lumi_section = self._gauge("axo_lumi_section", "Lumi section of the last good record")
        self.pileup = self._gauge("axo_pileup", "Pileup of the last good record")
        self.entries = self._counter("axo_entries", "Journal entries by kind", "kind")
        self.refused = self._counter("axo_refused_records", "Records refused, by reason", "reason")
        self.publications = self._counter("axo_publications", "Publications by outcome", "outcome")
        self.decision_latency = Histogram(
            "axo_decision_latency_seconds",
            "From a record's arrival to its decision on disk and published",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.journal_lag = self._gauge(
            "axo_journal_lag_seconds", "How long an entry has waited for the disk to take it"
        )
        self.journal_log = self._gauge("axo_journal_log_bytes", "Size of the journal's write-ahead log")
        self.publication_lag = self._gauge(
            "axo_publication_lag_seconds", "How long a decision has waited for the sink to take one"
        )
        self.record_age = self._gauge("axo_record_age_seconds", "Time since the last good record")
        self._alarms = self._gauge("axo_alarm", "1: the alarm is active", "code", "seed")
        self.refused_writes = self._counter("axo_refused_writes", "Requests to change something refused")

    def seed(self, point: SeedPoint) -> None:
        """Set the gauges of one seed after a decision; what is None is NaN."""
        gauges, changes = self._of_seed(point.name)
        for key, gauge in gauges.items():
            value = getattr(point, key)
            gauge.set(math.nan if value is None else float(value))
        changes.inc(int(point.word != point.previous_word))

    def alarm(self, code: str, seed: str, active: bool) -> None:
        """Raise or clear an alarm; `seed` is empty when it concerns no one seed."""
        self._alarms.labels(code, seed).set(int(active))

    def _of_seed(self, name: str) -> tuple[dict[str, Gauge], Counter]:
        """The gauges of one seed, and its counter: looking them up takes longer than setting them."""
        if name not in self._by_seed:
            gauges = {key: gauge.labels(name) for key, gauge in self._seed_gauges.items()}
            self._by_seed[name] = gauges, self._changes.labels(name)
        return self._by_seed[name]

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(name, text, labels, registry=self.registry)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(name, text, labels, registry=self.registry)

    def text(self) -> bytes:
        """The exposition for a scrape."""
        return generate_latest(self.registry)
