"""A unit's figures as Prometheus metrics; docs/operations.md lists them.

Labels name models, topics, reasons and activities, all public; no owner, no client, no id of a message.
"""

from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version as installed_version
from itertools import accumulate

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from pipeline.meter import ROUND_BOUNDS, Meter
from roles.kept_model import KeptModel
from roles.master_unit import MasterUnit
from roles.tenant import Tenant, configuration_digest

_LESSON = "lesson"
_GOOD_AND_BAD = {
    # What was decided: the metric of those that went well, and of the others by reason.
    "chunk": (
        ("privml_chunks_accepted", "Chunks that MU accepted."),
        ("privml_chunks_rejected", "Messages on the chunks topic that MU rejected."),
    ),
    "query": (
        ("privml_queries_answered", "Queries that the units answered."),
        ("privml_queries_refused", "Queries that the units did not answer."),
    ),
    "round": (
        ("privml_rounds", "Rounds that SU answered."),
        ("privml_rounds_refused", "Rounds that SU refused."),
    ),
}


def exposition(
    role: str, tenant: Tenant, meter: Meter, unit: MasterUnit | None, behind: Mapping[str, int]
) -> bytes:
    """Return a unit's metrics in Prometheus' text format.

    Args:
        role: ``mu`` or ``su``.
        tenant: Public facts.
        meter: What the process did.
        unit: MU's state; None at SU, and before MU has it.
        behind: By topic, messages that the unit has not read.
    """
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    registry.register(_UnitCollector(role, tenant, meter, unit, behind))
    return generate_latest(registry)


class _UnitCollector(Collector):
    def __init__(
        self, role: str, tenant: Tenant, meter: Meter, unit: MasterUnit | None, behind: Mapping[str, int]
    ) -> None:
        self._role = role
        self._tenant = tenant
        self._meter = meter
        self._unit = unit
        self._behind = behind

    def collect(self) -> Iterable[Metric]:
        """Yield all metrics; see `Collector.collect`."""
        yield InfoMetricFamily(
            "privml_unit",
            "Who this is; both units of a tenant agree in all but the role.",
            {
                "role": self._role,
                "tenant": self._tenant.name,
                "version": installed_version("privml"),
                "key_epoch": str(self._tenant.roster.configuration().key_epoch),
                "configuration": configuration_digest(self._tenant.configuration).hex(),
            },
        )
        yield from self._outcomes()
        yield self._rounds()
        yield from self._counted()
        if self._unit is not None:
            yield from _models(self._unit.models.values())
            yield GaugeMetricFamily(
                "privml_queries_open", "Queries accepted and not yet answered.", len(self._unit.open_queries)
            )

    def _outcomes(self) -> Iterator[Metric]:
        counted = self._meter.outcomes
        for what, (good, bad) in _GOOD_AND_BAD.items():
            if self._unit is None and what != "round":
                continue
            yield CounterMetricFamily(*good, counted[what, "", ""])
            refused = CounterMetricFamily(*bad, labels=["reason"])
            for (kind, _, reason), count in counted.items():
                if kind == what and reason:
                    refused.add_metric([reason], count)
            yield refused
        if self._unit is None:
            return
        yield CounterMetricFamily(
            "privml_chunks_withdrawn", "Chunks that MU took out again.", counted["withdrawal", "", ""]
        )
        learnt = CounterMetricFamily("privml_chunks_learnt", "Chunks that a model learnt.", labels=["model"])
        passed = CounterMetricFamily(
            "privml_chunks_passed_over", "Chunks that a model did not learn.", labels=["model", "reason"]
        )
        for (kind, model, reason), count in counted.items():
            if kind == _LESSON and not reason:
                learnt.add_metric([model], count)
            elif kind == _LESSON:
                passed.add_metric([model, reason], count)
        yield from (learnt, passed)

    def _rounds(self) -> Metric:
        seconds = HistogramMetricFamily(
            "privml_round_seconds",
            "At MU the time from a request to its reply, at SU the time to compute a reply.",
            labels=["activity"],
        )
        for activity, durations in self._meter.round_seconds.items():
            bounds = [*map(str, ROUND_BOUNDS), "+Inf"]
            buckets = list(zip(bounds, accumulate(durations.counts), strict=True))
            seconds.add_metric([activity], buckets, durations.seconds)
        return seconds

    def _counted(self) -> Iterator[Metric]:
        cpu = CounterMetricFamily(
            "privml_activity_cpu_seconds",
            "CPU seconds of the process during an activity.",
            labels=["activity"],
        )
        for name, activity in self._meter.activities.items():
            cpu.add_metric([name], activity.cpu_seconds)
        letters = CounterMetricFamily("privml_dead_letters", "Dead letters written.", labels=["reason"])
        for reason, count in self._meter.letters.items():
            letters.add_metric([reason], count)
        behind = GaugeMetricFamily("privml_messages_behind", "Messages not read yet.", labels=["topic"])
        for topic, count in self._behind.items():
            behind.add_metric([topic], count)
        yield from (cpu, letters, behind)


def _models(models: Iterable[KeptModel]) -> Iterator[Metric]:
    """Yield the gauges of all models."""
    families = [
        GaugeMetricFamily(name, text, labels=["model"])
        for name, text in (
            ("privml_model_version", "Version of a model."),
            ("privml_model_records", "Records in a model."),
            ("privml_model_answering_version", "Version that answered the last query; 0 before the first."),
            ("privml_model_chunks_waiting", "Accepted chunks that a model has not learnt."),
        )
    ]
    for kept in models:
        values = (kept.model.version, kept.model.records, kept.answering.version, len(kept.waiting))
        for family, value in zip(families, values, strict=True):
            family.add_metric([kept.learner.model_id], value)
    yield from families
