"""accept() and settle(): the only way in and the only way out.

::

    accept:  record + route + enqueue, one transaction  ->  wake a worker
    settle:  job + reply + outbox + log line, one transaction  ->  tell who waits
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from stead.core.approvals import Decided
from stead.core.errors import BadRequest, StaleEpoch, SteadError, WrongState
