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
from .trust import HOUSE

__all__ = [
    "ERROR_STATUS",
    "HOUSE",
    "TICKET_HEADER",
    "Address",
    "AsyncReply",
    "Credential",
    "LiveAddress",
    "Reply",
    "Request",
    "SigningTransport",
    "Ticket",
    "TicketRegistry",
    "Wire",
]
