"""What calls of the service layer are answered with when they fail as a whole."""

from odoo.exceptions import UserError, ValidationError


class InvalidInput(ValidationError):
    """The body of a call is not what the operation takes; nothing was done.

    :ivar list problems: dictionaries with ``member`` (which part of the body, as in
        ``lines[0].quantity``) and ``message`` (what is expected of it)
    """

    def __init__(self, message, problems):
        super().__init__(message)
        self.problems = problems


class IdempotencyConflict(UserError):
    """The key of the call was used for another body before; nothing was done."""

    http_status = 409


class CallBusy(UserError):
    """Others held what the call needs for too long; nothing was done, and it may be repeated."""

    http_status = 503


class RateLimitExceeded(UserError):
    """The user made more calls than are allowed; nothing was done.

    :ivar float retry_after_seconds: until the next call is allowed
    """

    http_status = 429

    def __init__(self, message, retry_after_seconds):
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds
