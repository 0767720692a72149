from datetime import UTC

from prometheus_client import generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from odoo import api, models

from .stock_ledger_reconciliation import KINDS
from .stock_ledger_threshold import STATES

PREFIX = "stock_event_ledger_"


class Scrape(Collector):
    """What was read for one answer to Prometheus, and is forgotten after it."""

    def __init__(self, families):
        self._families = families

    def collect(self):
        """Return the metric families."""
        return self._families


def gauge(name, documentation, values, labels=()):
    """Return a metric that goes up and down.

    :param dict values: a number for each tuple of the labels' values; None is left out
    """
    return _fill(GaugeMetricFamily(PREFIX + name, documentation, labels=labels), values)


def counter(name, documentation, values, labels=()):
    """Return a metric that only goes up; the library adds ``_total`` to its name."""
    return _fill(CounterMetricFamily(PREFIX + name, documentation, labels=labels), values)


def _fill(family, values):
    for label_values, value in values.items():
        if value is not None:
            family.add_metric(label_values, value)
    return family


def timestamp(date):
    """Return the seconds since 1970 of one of Odoo's dates, None for none."""
    return date.replace(tzinfo=UTC).timestamp() if date else None


class StockEventMetrics(models.AbstractModel):
    """How events, workers and what they work off are doing, for Prometheus.

    Read anew for each scrape, by a few queries whose cost depends on what is still to be
    done, and not on what was done. Another module adds metrics in ``_collect``.
    """

    _name = "stock.event.metrics"
    _description = "Stock Event Metrics"

    @api.model
    def _export(self):
        """Return all metrics in Prometheus' text format, as bytes."""
        return generate_latest(Scrape(self._collect()))

    @api.model
    def _collect(self):
        """Return the list of metric families."""
        # An inactive channel is told from one that is gone, and may still have events.
        channels = self.env["stock.event.channel"].search([("active", "in", (True, False))])
        return [
            *self._collect_channels(channels),
            *self._collect_events(channels),
            *self._collect_workers(),
            *self._collect_backlogs(),
            *self._collect_thresholds(),
            *self._collect_reconciliation(),
        ]

    @api.model
    def _collect_channels(self, channels):
        publishing = channels._filter_publishing()
        labels = ("channel",)
        yield gauge(
            "channel_up",
            "1 if the channel publishes and its last attempt was without an error, else 0.",
            {(c.code,): c in publishing and not c.last_error for c in channels},
            labels,
        )
        yield gauge(
            "channel_active",
            "1 if events are queued for the channel, else 0.",
            {(c.code,): c.active for c in channels},
            labels,
        )
        yield gauge(
            "channel_paused",
            "1 if somebody has paused the channel: it queues events and sends none. Else 0.",
            {(c.code,): c.state == "paused" for c in channels},
            labels,
        )
        yield gauge(
            "open_alerts",
            "1 for each alert of the channel that is open, by its name.",
            {(c.code, alert): 1 for c in channels for alert in c.status_ids.alerts or ()},
            ("channel", "alert"),
        )

    @api.model
    def _collect_events(self, channels):
        counts = channels._count_unconfirmed()
        labels = ("channel",)
        yield gauge(
            "events",
            "Events that the broker has not confirmed: pending, blocked by an error, or "
            "waiting behind a blocked one.",
            {
                (c.code, state): counts.get((c.id, state), 0)
                for c in channels
                for state in ("pending", "waiting", "blocked")
            },
            ("channel", "state"),
        )
        yield gauge(
            "lag_seconds",
            "Age of the oldest event that the broker has not confirmed; 0 if there is none.",
            {(c.code,): c.lag_seconds for c in channels},
            labels,
        )
        yield counter(
            "confirmed_events",
            "Events that the broker has confirmed.",
            {(c.code,): c.confirmed_count for c in channels},
            labels,
        )
        yield gauge(
            "last_confirm_timestamp_seconds",
            "When the broker last confirmed an event; missing if it never has.",
            {(c.code,): timestamp(c.last_confirm_date) for c in channels},
            labels,
        )

    @api.model
    def _collect_workers(self):
        workers = self.env["stock.event.worker"]
        leaders = workers.search([("is_leader", "=", True)])
        yield gauge(
            "workers",
            "Workers that were heard of within the last minute.",
            {(): workers.search_count([("heartbeat_date", ">=", workers._get_gone_date())])},
        )
        yield gauge(
            "leader_heartbeat_timestamp_seconds",
            "When the leading worker was last heard of; missing if there is none.",
            {(): timestamp(max(leaders.mapped("heartbeat_date"), default=None))},
        )

    @api.model
    def _collect_backlogs(self):
        moves = self.env["stock.move"]
        yield gauge(
            "unfolded_deltas",
            "Changes of stock that are not in the balances yet.",
            {(): self.env["stock.ledger.delta"].search_count([])},
        )
        yield gauge(
            "queued_reservations",
            "Moves that wait to be reserved.",
            {(): moves.search_count(moves._get_reservation_queue_domain())},
        )

    @api.model
    def _collect_thresholds(self):
        thresholds = self.env["stock.ledger.threshold"]
        counts = dict(thresholds._read_group([], ["state"], ["__count"]))
        yield gauge(
            "low_stock_thresholds",
            "Thresholds of products in warehouses, by what was last decided: ok, low or out.",
            {(state,): counts.get(state, 0) for state, _label in STATES},
            ("state",),
        )

    @api.model
    def _collect_reconciliation(self):
        drifts = self.env["stock.ledger.drift"]
        counts = dict(drifts._read_group([("state", "=", "open")], ["kind"], ["__count"]))
        yield gauge(
            "open_drifts",
            "Figures of the stock that have to agree and do not, by kind.",
            {(kind,): counts.get(kind, 0) for kind, _label in KINDS},
            ("kind",),
        )
        last_clean = self.env["stock.ledger.reconciliation"]._get_last_clean()
        yield gauge(
            "last_clean_reconciliation_timestamp_seconds",
            "When a reconciliation of everything last found no drift; missing if none has.",
            {(): timestamp(last_clean.started_date)},
        )
