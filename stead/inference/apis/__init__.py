"""The shapes in which models are asked, and the way from one to another.

Everything here is pure: bytes in, bytes out, no network, no clock, no chance. The book of
rules for what is translated, passed on and refused is ``docs/inference.md``.
"""
