"""Signs each request with its attempt's credential, guards hosts, pools connections, notes what the wire said."""

from ..observed import ERROR_STATUS, Observed
from .exchange import AsyncReply, Reply, Request
from .signing import SigningTransport
from .ticket import (
    TICKET_HEADER,
    Address,
    Credential,
    LiveAddress,
    Ticket,
    TicketRegistry,
)
from .trust import HOUSE, STRANGER, ExcessError, Trust

__all__ = [
    "ERROR_STATUS",
    "HOUSE",
    "STRANGER",
    "TICKET_HEADER",
    "Address",
    "AsyncReply",
    "Credential",
    "ExcessError",
    "LiveAddress",
    "Observed",
    "Reply",
    "Request",
    "SigningTransport",
    "Ticket",
    "TicketRegistry",
    "Trust",
]
