"""Settings of web push: notices in browsers that are not looking (docs/page.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated

import msgspec

from stead.config.section import Section, help_


class PushSection(Section, frozen=True):
    services: Annotated[
        list[str],
        help_("Hosts of the push services that browsers may name; * stands for a part"),
    ] = msgspec.field(
        default_factory=lambda: [
            "fcm.googleapis.com",
            "*.push.services.mozilla.com",
            "*.push.apple.com",
            "*.notify.windows.com",
        ]
    )
    contact: Annotated[
        str, help_("How a push service can reach you, as RFC 8292 wants it: mailto: or https:")
    ] = "mailto:owner@stead.invalid"
    words: Annotated[
        bool, help_("Whether notices show the first words; else only that there is something")
    ] = True
