"""Signs each request with its attempt's credential, guards hosts, pools connections, notes what the wire said."""

from ..wire import ERROR_STATUS, Wire
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
    "Reply",
    "Request",
    "SigningTransport",
    "Ticket",
    "TicketRegistry",
    "Trust",
    "Wire",
]
