"""`stead chaos`: break a stead on purpose, and judge from the outside what became of it.

A run makes a home of its own, starts a real gateway, real nodes and a scripted
model there as processes, sends messages as clients do, carries out a seeded plan
of faults meanwhile, and then asks: was every message that was accepted answered
once, was anything done or paid twice, in what order, and what is left unclear?

==============  ================================================================
``kinds``       the kinds of faults, whom they meet, what they need
``plan``        which faults when, from a seed; as JSON, so that it can be kept
``talk``        what is said, by whom, which answer is the right one
``house``       the homes and the processes
``model``       the scripted model as a process that logs what it was asked
``effects``     tools with effects that can be counted from the outside
``receiver``    where pushed replies go
``clients``     those who send, and note what they were told
``owner``       answers what jobs ask, after looking at what really happened
``driver``      carries out the plan, by ``means`` of processes, ``network``
                (proxies, namespaces) and ``machines`` (disks, clocks)
``faults/``     the injectors themselves, which know nothing of a run
``evidence``    what is found afterwards: record, journal, ledger, logs, files
``judge``       what that amounts to (``aftermath``: what needs a second look;
                ``verdict``: what it is told in)
``shrink``      the smallest part of a plan that still fails
``report``      a run in words
==============  ================================================================

The judge shares no code with what it judges.
"""
