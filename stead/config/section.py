"""What every table of stead.toml is made of."""

import msgspec
from msgspec import Meta


def help_(
    text: str, *, gt: float | None = None, ge: float | None = None, le: float | None = None
) -> Meta:
    """The help of a setting, and its bounds."""
    if gt is not None:
        return Meta(description=text, gt=gt, le=le)
    return Meta(description=text, ge=ge, le=le)


class Section(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of stead.toml."""
