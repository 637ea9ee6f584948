"""Signs each request with its attempt's credential, checks hosts, pools connections, records observations."""

from ..observed import ERROR_STATUS, Observed
from .live import Address, LiveAddress
from .request import Request
from .response import LONG_BODY, AsyncResponse, Response
from .signing import SigningTransport
from .ticket import TICKET_HEADER, Credential, Ticket, TicketRegistry
from .trust import HOUSE, STRANGER, ExcessError, Trust, require_at_most

__all__ = [
    "ERROR_STATUS",
    "HOUSE",
    "LONG_BODY",
    "STRANGER",
    "TICKET_HEADER",
    "Address",
    "AsyncResponse",
    "Credential",
    "ExcessError",
    "LiveAddress",
    "Observed",
    "Request",
    "Response",
    "SigningTransport",
    "Ticket",
    "TicketRegistry",
    "Trust",
    "require_at_most",
]
