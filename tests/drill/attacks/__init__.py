"""Attacks on the machine by what runs in a sandbox, or by who tells the model what to do.

Each is real: it tries the thing, and has won when it has the bait, has left a mark outside, or has
reached somebody. Each names the wall that stops it; `test_walls_off.py` takes that wall away and
shows that the attack then wins, so that none is harmless by mistake.
"""
