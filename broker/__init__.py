"""RabbitMQ, through pika. Plain Python: nothing in here imports Odoo."""

import logging

from .command import ACCEPTED, REJECTED, Command, parse_command
from .consumer import Consumer
from .envelope import (
    Envelope,
    Message,
    check_routing_key_pattern,
    cut_routing_key,
    event_uuid,
    gap_event_uuid,
    new_uuid,
)
from .publisher import WINDOW, Batch, Publisher
from .target import Queue, Target, try_round_trip

# pika reports each failed attempt in several lines, as errors. An unreachable broker is
# expected here: it is retried, and reported once by whoever asked for the connection.
# Whoever configured pika's logger has the last word.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)
