"""Which nodes are there, and what a revoked one may still do: nothing."""

from __future__ import annotations

import asyncio

import pytest

from stead.core.errors import WrongKey
from stead.gateway.presence import CutShort, Presence


async def test_a_claim_that_was_on_its_way_when_the_key_was_revoked_does_not_wait() -> None:
    """Whichever comes first, the revoking or the claim, a revoked node holds no claim open."""
    presence = Presence(away_s=60)

    async def claim() -> None:
        with presence.claiming("far"):
            await asyncio.sleep(30)

    late = asyncio.create_task(claim())  # has not begun
    presence.gone("far")
    with pytest.raises(WrongKey):
        await late

    presence.invited("far")
    waiting = asyncio.create_task(claim())
    await asyncio.sleep(0)
    assert presence.alive("far")
    presence.gone("far")
    with pytest.raises(WrongKey):
        await waiting
    presence.heard("far")  # a heartbeat that was on its way
    assert not presence.alive("far") and not presence.any_alive()


async def test_a_claim_that_is_cut_short_is_no_sign_of_life() -> None:
    """Its node is told to ask again; until it does it counts as silent since it last spoke."""
    presence = Presence(away_s=60)

    async def claim() -> None:
        with presence.claiming("far"):
            await asyncio.sleep(30)

    waiting = asyncio.create_task(claim())
    await asyncio.sleep(0.05)
    presence.cut_short("far")
    presence.cut_short("far")
    with pytest.raises(CutShort):
        await waiting
    assert (presence.idle_s("far") or 0) >= 0.04
    again = asyncio.create_task(claim())
    await asyncio.sleep(0)
    assert presence.idle_s("far") == 0.0
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again


async def test_a_claim_that_ends_by_itself_was_not_revoked() -> None:
    """A caller that hangs up is cancelled as usual, and was there a moment ago."""
    presence = Presence(away_s=60)

    async def claim() -> None:
        with presence.claiming("far"):
            await asyncio.sleep(30)

    waiting = asyncio.create_task(claim())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert presence.alive("far")
