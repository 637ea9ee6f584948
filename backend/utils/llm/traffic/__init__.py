"""What goes on now and went on lately: who is busy, how quick, how full, whose turn it is."""

from __future__ import annotations

from .arms import CONTROL
from .members import Member, Timed
from .meters import Full, Meter, first_reset
from .store import Lease, Sent, Traffic
from .tails import ENOUGH, Tails

__all__ = [
    "CONTROL",
    "ENOUGH",
    "Full",
    "Lease",
    "Member",
    "Meter",
    "Sent",
    "Tails",
    "Timed",
    "Traffic",
    "first_reset",
]
