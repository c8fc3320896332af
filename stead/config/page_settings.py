"""Settings of the page (docs/page.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated

from stead.config.section import Section, help_


class PageSection(Section, frozen=True):
    """What a browser sees at the gateway's address."""

    origins: Annotated[
        list[str],
        help_(
            "Addresses of the page besides localhost, such as https://stead.example.org: what a"
            " browser shows, not where a proxy finds it. Others are refused; passkeys hold for one"
        ),
    ] = []
    stay_days: Annotated[
        float, help_("A browser that was not used for so long is signed out", gt=0, le=400)
    ] = 60.0
