"""RabbitMQ, through pika. Plain Python: nothing in here imports Odoo."""

import logging

from .envelope import Envelope, Message, check_routing_key_pattern, event_uuid, gap_event_uuid
from .publisher import Batch, Publisher
from .target import Target, check

# pika reports each failed attempt in several lines, as errors. An unreachable broker is
# expected here: it is retried, and reported once by whoever asked for the connection.
# Whoever configured pika's logger has the last word.
if logging.getLogger("pika").level == logging.NOTSET:
    logging.getLogger("pika").setLevel(logging.CRITICAL)
