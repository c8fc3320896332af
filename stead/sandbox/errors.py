"""What goes wrong with sandboxes, in words for the owner and the model."""

from __future__ import annotations

from stead.core.errors import SteadError
from stead.core.states import Failure


class NoSandbox(SteadError):
    """There is no sandbox here that holds, so nothing that has effects may run: {why}"""

    status = 503
    code = "no_sandbox"
    failure = Failure.UNAVAILABLE


class BadBox(SteadError):
    """This sandbox cannot be made: {why}"""

    status = 400
    kind = "invalid_request_error"
    code = "bad_sandbox"
    failure = Failure.SCHEMA
