"""The HTTP transport of all calls: adds keys to requests, checks hosts, pools connections, limits answers."""

from ..observed import ERROR_STATUS, ObservedExchange
from .live import AddressSource, ProviderAddress
from .request import Request
from .response import LONG_BODY, AsyncResponse, Response
from .signing import SigningTransport
from .ticket import TICKET_HEADER, Credential, Ticket, TicketRegistry
from .trust import HOUSE, STRANGER, AnswerTooLargeError, ServerTrust, check_answer_limit

__all__ = [
    "ERROR_STATUS",
    "HOUSE",
    "LONG_BODY",
    "STRANGER",
    "TICKET_HEADER",
    "AddressSource",
    "AnswerTooLargeError",
    "AsyncResponse",
    "Credential",
    "ObservedExchange",
    "ProviderAddress",
    "Request",
    "Response",
    "ServerTrust",
    "SigningTransport",
    "Ticket",
    "TicketRegistry",
    "check_answer_limit",
]
