"""What goes on now and went on lately: who is busy, how quick, how full, whose turn it is."""

from __future__ import annotations

from .arms import CONTROL
from .members import Member, Timed
from .meters import Full, Meter, seconds_until_reset_of
from .store import Lease, Sent, Traffic

__all__ = ["CONTROL", "Full", "Lease", "Member", "Meter", "Sent", "Timed", "Traffic", "seconds_until_reset_of"]
