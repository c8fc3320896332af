"""Errors. The docstring of a class is its message: what happened, why, what to do.

``status`` is the HTTP status the gateway answers with, ``kind`` the ``type`` in
the OpenAI error shape, ``failure`` the class that decides about another try.
"""

from __future__ import annotations

import inspect
import math
from typing import Self

from stead.core.states import Failure


class SteadError(Exception):
    """Something in stead went wrong."""

    status = 500
    kind = "server_error"
    code = "internal"
    failure = Failure.CODE
    retry_after_s = 0.0
    """When to try again (``Retry-After``), in seconds; 0: nothing is said of that."""

    def __init__(self, message: str = "", *, param: str | None = None, **details: object) -> None:
        text = message or inspect.cleandoc(type(self).__doc__ or "").format(**details)
        super().__init__(text)
        self.message = text
        self.param = param
        self.details = details

    def after(self, seconds: float) -> Self:
        """The same, to be tried again then."""
        self.retry_after_s = seconds
        return self

    def headers(self) -> dict[str, str]:
        """What goes with it over HTTP, with names in lower case."""
        headers = {}
        if self.status == 401:
            headers["www-authenticate"] = "Bearer"
        if self.retry_after_s > 0:
            headers["retry-after"] = str(math.ceil(self.retry_after_s))
        # The queue has tried, or money does not come by asking again. OpenAI's clients heed this.
        if self.code.startswith("job_") or self.failure is Failure.BUDGET:
            headers["x-should-retry"] = "false"
        return headers

    def as_dict(self) -> dict[str, object]:
        """The error as the OpenAI API shapes it."""
        return {
            "error": {
                "message": self.message,
                "type": self.kind,
                "param": self.param,
                "code": self.code,
            }
        }


class BadRequest(SteadError):
    """The request is not valid: {why}"""

    status = 400
    kind = "invalid_request_error"
    code = "bad_request"
    failure = Failure.SCHEMA


class KeyReused(SteadError):
    """The Idempotency-Key {key!r} was used before for another request: {what} differs. The same key
    only repeats the same request; use a new key for a new one."""

    status = 422
    kind = "invalid_request_error"
    code = "idempotency_key_reused"
    failure = Failure.SCHEMA


class TooLarge(BadRequest):
    """The request body is larger than the {limit} bytes allowed (gateway.max_body_mb)."""

    status = 413
    code = "body_too_large"


class FileTooLarge(BadRequest):
    """The file is larger than the {limit} MB allowed ([files] max_mb); nothing of it was kept."""

    status = 413
    code = "file_too_large"


class NoRoom(SteadError):
    """There is no room for the file: {why}. Nothing of it was kept."""

    status = 507
    code = "no_room"
    failure = Failure.LIMIT


class FileInUse(SteadError):
    """The file {ident} hangs on a message, so it stays with it; `stead forget` takes out both."""

    status = 409
    kind = "conflict_error"
    code = "file_in_use"
    failure = Failure.SCHEMA


class WrongKey(SteadError):
    """That key is not known here. The owner's key is printed by `stead key`."""

    status = 401
    kind = "authentication_error"
    code = "invalid_api_key"
    failure = Failure.AUTH


class KeyRevoked(WrongKey):
    """The key was taken back while this was being answered, so the answer ends here."""

    code = "key_revoked"


class Forbidden(SteadError):
    """That key may not do this: {why}"""

    status = 403
    kind = "permission_error"
    code = "forbidden"
    failure = Failure.AUTH


class NotFound(SteadError):
    """There is no {what}."""

    status = 404
    kind = "invalid_request_error"
    code = "not_found"
    failure = Failure.SCHEMA


class AlreadyAnswered(SteadError):
    """The question {ident} is not open any more: {what}. Nothing was changed."""

    status = 409
    kind = "invalid_request_error"
    code = "already_answered"
    failure = Failure.SCHEMA


class WaitsForApproval(SteadError):
    """The job {job_id} waits for your word on a call: `stead approvals` shows it, and `stead approve
    {ident}` or `stead deny {ident}` answers it."""

    status = 409
    kind = "invalid_request_error"
    code = "waits_for_approval"
    failure = Failure.SCHEMA


class UnknownModel(NotFound):
    """There is no model named {model!r} here. There are: {known}.{hint}"""

    code = "model_not_found"


class NoModelFits(BadRequest):
    """No model behind {wanted} can take this request: {why}"""

    code = "no_model_fits"


class StaysInHouse(SteadError):
    """This request may not leave the house, and {wanted} has no model within: {why}"""

    status = 403
    kind = "permission_error"
    code = "stays_in_house"
    failure = Failure.AUTH


class ModelsResting(SteadError):
    """No model behind {wanted} can be asked now: {why}"""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"
    failure = Failure.RATE_LIMIT


class StaleEpoch(SteadError):
    """Job {job_id} is no longer yours at epoch {epoch}; stop working on it."""

    status = 409
    kind = "conflict_error"
    code = "stale_epoch"
    failure = Failure.CODE


class WrongState(SteadError):
    """Job {job_id} is {state}; that cannot be done to it now."""

    status = 409
    kind = "conflict_error"
    code = "wrong_state"


class Unreadable(SteadError):
    """The row of job {job_id} in the database cannot be read ({why}), so nothing can be done
    with it. What is known of it: `stead why {job_id}`."""

    status = 409
    kind = "conflict_error"
    code = "unreadable"


class NoPrice(SteadError):
    """What {model} at {backend} costs is not known, and it is in the cloud, so it is not asked.
    Give its price (usd_per_mtok_in, usd_per_mtok_out; 0: it is free) in its [[backend.models]], or set `unpriced = "count"` under [budget] in stead.toml."""

    status = 402
    kind = "insufficient_quota"
    code = "no_price"
    failure = Failure.BUDGET


class RateLimited(SteadError):
    """Too many at a time: {what}. Try again a little later."""

    status = 429
    kind = "rate_limit_error"
    code = "rate_limit_exceeded"
    failure = Failure.RATE_LIMIT


class QuietHours(RateLimited):
    """At this hour it is quiet here, by the rule {rule}, for another {left}.{why}"""

    code = "quiet_hours"


class BlockedByRule(Forbidden):
    """It holds {found}: {why} (rule {rule})."""

    code = "blocked_by_rule"


class NoGuard(SteadError):
    """The rule {rule} looks for {what}, which needs a detector that is not installed here, so nothing is let through.
    Install it with `pip install 'stead[{extra}]'`, or change the rule in stead.toml."""

    status = 503
    code = "no_guard"
    failure = Failure.UNAVAILABLE


class NotLookedAt(SteadError):
    """What it says could not be looked at, as the rules of this house ask, so it is not let through: {why}"""

    status = 503
    code = "not_looked_at"
    failure = Failure.UNAVAILABLE


class OverBudget(SteadError):
    """The budget is used up: {why}. Raise it under [budget] in stead.toml, or wait for tomorrow."""

    status = 429
    kind = "insufficient_quota"
    code = "over_budget"
    failure = Failure.BUDGET


class ModelNotReady(SteadError):
    """The model is not ready yet: {why}"""

    status = 503
    kind = "server_error"
    code = "model_not_ready"
    failure = Failure.UNAVAILABLE


class ModelUnusable(ModelNotReady):
    """The model {name} cannot be run: {why}"""

    code = "model_unusable"


class PullFailed(ModelNotReady):
    """The model {name} could not be fetched.
    {why}"""

    code = "model_not_fetched"


class PullRefused(PullFailed):
    """The model {name} is not on this machine, and the network may not be used (offline).
    Run `stead model pull {name}` where the network may be used, or name a copy of its file: `stead model pull {name} --from FILE`."""

    code = "offline"


class PullNoSpace(PullFailed):
    """No room for the model {name}: {needed_mb} MB are needed in {folder} and {free_mb} MB are free.
    Free some, or choose a smaller model (`stead model list`). Nothing fetched so far is lost."""

    code = "no_space"


class ModelDamaged(ModelUnusable):
    """The model file {path} is damaged: {why}. Fetch it again with `stead model pull {name}`."""

    code = "model_damaged"


class NoRuntime(ModelUnusable):
    """Local models need the package xllamacpp, which is not installed here ({why}).
    Install it with `pip install 'stead[local]'`, or set `local = "off"` under [model] in stead.toml."""

    code = "no_runtime"


class ModelBusy(SteadError):
    """The model {name} is in use by {who}."""

    status = 409
    kind = "conflict_error"
    code = "model_busy"


class ServiceUnavailable(SteadError):
    """The service {name} cannot be used now: {why}"""

    status = 503
    code = "service_unavailable"
    failure = Failure.UNAVAILABLE


class ServiceMissing(ServiceUnavailable):
    """The service {name} ({words}) needs {missing}, which is not installed here.
    Install it with {command}; no restart is needed."""

    code = "service_missing"


class ServiceOff(ServiceUnavailable):
    """The service {name} is switched off here: it stands in services.off in stead.toml."""

    code = "service_off"


class ServiceNotReady(ServiceUnavailable):
    """The service {name} did not come up: {why}"""

    code = "service_not_ready"


class ServiceFell(ServiceUnavailable):
    """The service {name} is down ({why}); the next try is in {seconds} s."""

    code = "service_fell"


class BackendFailed(SteadError):
    """The model server {backend} did not answer: {why}"""

    status = 502
    kind = "server_error"
    code = "backend_failed"
    failure = Failure.NETWORK


class ModelRefused(SteadError):
    """The model door answered {status}: {why}"""

    status = 502
    kind = "server_error"
    code = "model_refused"


class LimitReached(SteadError):
    """The limit on {what} was reached ({used} of {limit}); raise it under [limits] in stead.toml."""

    status = 422
    kind = "invalid_request_error"
    code = "limit_reached"
    failure = Failure.LIMIT


class OutcomeUnknown(SteadError):
    """Step {seq} ({name}) was under way when its worker died, so whether it happened is not known."""

    code = "outcome_unknown"
    failure = Failure.UNKNOWN_OUTCOME


class NotSettled(SteadError):
    """Reply {ident} is {state}; `{how}` cannot be done to it now."""

    status = 409
    kind = "conflict_error"
    code = "wrong_state"


class ChannelAway(SteadError):
    """The channel {channel} takes nothing now: {why}"""

    status = 503
    code = "channel_away"
    failure = Failure.UNAVAILABLE

    wait_s = 0.0
    """How long it asked to be left alone, in seconds."""
    answered = False
    """Whether that is what it answered to a reply, and not that it could not be reached."""


class DeliveryFailed(SteadError):
    """The channel {channel} could not take this reply: {why}"""

    status = 502
    code = "delivery_failed"
    wait_s = 0.0
    """How long it asked to wait before the next try, in seconds."""


class DeliveryRefused(SteadError):
    """The channel {channel} will not take this reply: {why}"""

    status = 502
    code = "delivery_refused"
    failure = Failure.SCHEMA


class DeliveryInDoubt(SteadError):
    """Nobody knows whether {channel} has this reply: {why}"""

    status = 502
    code = "delivery_in_doubt"
    failure = Failure.UNKNOWN_OUTCOME


class GatewayAway(SteadError):
    """The gateway at {url} cannot be reached: {why}"""

    status = 503
    code = "gateway_away"
    failure = Failure.AWAY


class StoreUnusable(SteadError):
    """The database {path} cannot be used: {why}"""

    status = 503
    code = "store_unusable"
    failure = Failure.UNAVAILABLE


class NewerSchema(StoreUnusable):
    """The database {path} was written by a newer stead (schema {found}, this program knows {known}).
    Nothing was changed. Install the newer stead, or restore the copy taken before its upgrade."""

    code = "newer_schema"


class ConfigError(SteadError):
    """stead.toml is not valid: {why}"""

    status = 422
    code = "config"
    failure = Failure.SCHEMA


class HomeUnusable(SteadError):
    """The home directory {path} cannot be used: {why}"""

    code = "home"


class PortTaken(SteadError):
    """{address} is already in use, perhaps by another stead.
    See who has it with `stead status`, or set another `listen` in stead.toml."""

    code = "port_taken"


class OpenDoor(SteadError):
    """Refusing to listen on {address}: that is beyond this machine, and you have set no key.
    Set `key_file` under [gateway] in stead.toml (make one with `stead key new FILE`), or listen on 127.0.0.1."""

    code = "open_door"
