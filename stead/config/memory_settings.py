"""Settings of memory (docs/memory.md).

Annotations are evaluated here, by Python itself, as in :mod:`stead.config.settings`.
"""

from typing import Annotated

from stead.config.section import Section, help_


class MemorySection(Section, frozen=True):
    """What is remembered, and what of it an agent is shown."""

    recall: Annotated[bool, help_("Show an agent what fits its message, before it begins")] = True
    recall_ms: Annotated[
        int, help_("A job waits so long (milliseconds) for what fits, then goes on without", ge=1)
    ] = 250
    off_the_record_s: Annotated[
        float,
        help_(
            "A conversation off the record that nobody ended is erased so long after its last"
            " message",
            gt=0,
        ),
    ] = 900.0
    idle_s: Annotated[
        float, help_("So long after its last use the process with the index ends", gt=0)
    ] = 900.0
    look_s: Annotated[
        float, help_("Files are looked at anew at a question when they were not for so long", ge=0)
    ] = 2.0
    meaning: Annotated[
        bool, help_("Compare meanings too, where the light service embed is installed")
    ] = True
    memory_md_kb: Annotated[
        float, help_("MEMORY.md is not made longer than this; kB, at most 1,000", gt=0, le=1000)
    ] = 8.0
    max_shrink: Annotated[
        float, help_("Share of a file that may go in one step without you", gt=0, le=1)
    ] = 0.2
    max_changed: Annotated[
        int, help_("Entries of a file that may change or go in one step without you", ge=0)
    ] = 20
    review_at: Annotated[
        str, help_("When the day before is reviewed (local time); empty: never by itself")
    ] = "03:30"
    review_auto: Annotated[bool, help_("Take small additions in your own words without asking")] = (
        True
    )
    review_tokens: Annotated[
        int, help_("Tokens of prompts and answers that the review of a night may use", ge=0)
    ] = 200_000
    review_usd: Annotated[float, help_("Money that the review of a night may cost", ge=0)] = 0.05
    decay_days: Annotated[
        int, help_("A card that nobody used for so long is proposed for the archive; 0: none", ge=0)
    ] = 180
