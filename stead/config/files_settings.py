"""Settings of files that are handed in with messages (docs/attachments.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated

from stead.config.section import Section, help_


class FilesSection(Section, frozen=True):
    """What is attached to messages."""

    max_mb: Annotated[float, help_("Largest file that is taken", gt=0)] = 2000.0
    quota_mb: Annotated[float, help_("All files together; more is refused", gt=0)] = 50_000.0
    spare_mb: Annotated[
        float, help_("So much of the disk stays free: a file that would take it is refused", ge=0)
    ] = 500.0
    unused_h: Annotated[
        float, help_("A file that nobody sends with a message goes after so long", gt=0)
    ] = 24.0
