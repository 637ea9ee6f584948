"""Signs each request with its attempt's credential, guards hosts, pools connections, notes what the wire said."""

from .exchange import AsyncReply, Reply, Request
from .signing import SigningTransport
from .ticket import (
    ERROR_STATUS,
    TICKET_HEADER,
    Address,
    Credential,
    LiveAddress,
    Ticket,
    TicketRegistry,
    Wire,
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
