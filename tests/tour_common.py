import contextlib
import logging

from odoo.tests import HttpCase, tagged

# Odoo's --log-level silences these by name; all others follow the root.
LOGGERS = (None, "odoo", "werkzeug")


class WarningCollector(logging.Handler):
    """Keep what is logged as a warning or worse.

    :param str ignored_logger: name of a logger that is not listened to
    """

    def __init__(self, ignored_logger):
        super().__init__(logging.WARNING)
        self.ignored_logger = ignored_logger
        self.messages = []

    def emit(self, record):
        if record.name != self.ignored_logger:
            self.messages.append(f"{record.levelname} {record.name}: {record.getMessage()}")


@tagged("post_install", "-at_install")
class TourCase(HttpCase):
    """Tours in a real browser, during which Odoo must log neither warnings nor errors.

    Odoo itself fails a tour at an error in the browser's console. Warnings there are in Odoo's
    log, too, and so count here.
    """

    def browser_js(self, *args, expected_warnings=(), **kwargs):
        """Run a tour, as Odoo does.

        :param expected_warnings: parts of warnings that this tour provokes, such as a refusal
            that the user reads; each must be logged
        """
        with self._collect_warnings() as collector:
            result = super().browser_js(*args, **kwargs)
        messages = collector.messages
        for expected in expected_warnings:
            self.assertTrue(any(expected in message for message in messages), expected)
            messages = [message for message in messages if expected not in message]
        self.assertEqual(messages, [], "Odoo logged warnings during the tour.")
        return result

    @contextlib.contextmanager
    def _collect_warnings(self):
        """Listen to all loggers, silenced ones included."""
        # The test's own logger tells how starting and ending Chrome went.
        collector = WarningCollector(self._logger.name)
        root = logging.getLogger()
        with contextlib.ExitStack() as stack:
            for logger in map(logging.getLogger, LOGGERS):
                stack.callback(logger.setLevel, logger.level)
                logger.setLevel(min(logger.getEffectiveLevel(), logging.WARNING))
            root.addHandler(collector)
            stack.callback(root.removeHandler, collector)
            yield collector
