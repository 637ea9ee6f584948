"""The network policy for endpoints that users bring.

The server connects from inside its own network, so a user's address could be that of an internal service or of a cloud's
metadata (SSRF). The rules list what is permitted, and do not depend on Python's own lists, which change with its patch
releases.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

FREE_PORTS = range(1024, 65_536)
"""The unprivileged ports. Below are mail, files and remote shells, of which only 80 and 443 are permitted."""
_PORTS = {"http": 80, "https": 443}
_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[0-9a-z.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>(?:/[\w.~+@-]+)*)/?",
    re.ASCII | re.IGNORECASE,
)
"""All that an address may be made of: what does not fit could be read differently by two readers."""
_LABEL = re.compile(r"(?!-)[0-9a-z-]{1,63}(?<!-)")
_NUMBER = re.compile(r"[0-9]+|0x[0-9a-f]*")
_LONGEST_URL = 1000
_LONGEST_NAME = 253

_UNICAST = ip_network("2000::/3")
"""Everything of IPv6 that is given to anybody so far."""
_NAT64 = ip_network("64:ff9b::/96")
"""How an IPv4 address is written where there is only IPv6."""
_SPECIAL = tuple(
    map(
        ip_network,
        (
            "0.0.0.0/8",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.2.0/24",
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.88.99.0/24",
            "192.168.0.0/16",
            "192.175.48.0/24",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "224.0.0.0/3",
            "2001::/23",
            "2001:db8::/32",
            "2002::/16",
            "2620:4f:8000::/48",
            "3fff::/20",
        ),
    )
)
"""IANA's registries of special purposes: none of them is a host of the public internet. Teredo and 6to4 are among them."""
PRIVATE = tuple(
    map(
        ip_network,
        (
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "::1/128",
            "fc00::/7",
        ),
    )
)
"""The private ranges in which the operator may permit networks."""
METADATA = tuple(
    map(
        ip_address,
        (
            "100.100.100.200",
            "168.63.129.16",
            "169.254.169.254",
            "169.254.170.2",
            "192.0.0.192",
            "fd00:ec2::23",
            "fd00:42::42",
            "fd00:ec2::254",
            "fd20:ce::254",
        ),
    )
)
"""The metadata services of clouds, which give out secrets. They are refused whatever the operator permits."""


@dataclass(frozen=True)
class NetworkPolicy:
    """The IP addresses that a user's own endpoint may have.

    Attributes:
        networks: The private networks that the operator permits.
        is_public: Whether the public internet is permitted as well; it is not for ``http``.
    """

    networks: tuple[Network, ...] = ()
    is_public: bool = True

    def permits(self, address: Address) -> bool:
        """Whether a connection to the IP address ``address`` may be made."""
        is_opened = any(address in network for network in self.networks) and address not in METADATA
        return is_opened or (self.is_public and is_public_address(address))

    def find_url_problem(self, url: str) -> str | None:
        """Explain why ``url`` is forbidden; None if it is permitted, or if only a DNS lookup can tell.

        ``url`` must be in the form that `normalize_url` returns.
        """
        address = parse_ip_host(url)
        if address is not None and not self.permits(address):
            return "it is where you may not have one"
        if not self.is_public and not self.networks:
            return "it must be https"
        return None


def make_network_policy(url: str, networks: tuple[Network, ...]) -> NetworkPolicy:
    """Make the policy for an endpoint at ``url``, with the private ``networks`` that the operator permits."""
    return NetworkPolicy(networks, is_public=url.startswith("https:"))


def is_public_address(address: Address) -> bool:
    """Whether ``address`` can be a host on the public internet."""
    if isinstance(address, IPv6Address) and address in _NAT64:
        return is_public_address(IPv4Address(int(address) & 0xFFFF_FFFF))
    if isinstance(address, IPv6Address) and address not in _UNICAST:
        return False
    return address not in METADATA and not any(address in network for network in _SPECIAL)


def normalize_url(url: str) -> str:
    """Check a user's ``url``, and return it in normal form: lower case, no default port, no slash at the end.

    Raises:
        ValueError: ``url`` is not of the form ``http[s]://host[:port][/path]``, or its host is neither a
            name nor an IP address, or its port is below 1024 and not the default. The error text does not
            repeat ``url``.
    """
    found = _URL.fullmatch(url) if len(url) <= _LONGEST_URL else None
    if found is None or "/../" in f"{found['path']}/" or "/./" in f"{found['path']}/":
        raise ValueError("must be https://host[:port][/path], in plain ASCII, and nothing else")
    scheme, host = found["scheme"].lower(), _plain_host(found["host"].lower())
    port = int(found["port"] or _PORTS[scheme])
    if port != _PORTS[scheme] and port not in FREE_PORTS:
        raise ValueError(f"must have the port {_PORTS[scheme]}, or one from {FREE_PORTS.start} on")
    return f"{scheme}://{host}{'' if port == _PORTS[scheme] else f':{port}'}{found['path']}"


def parse_ip_host(url: str) -> Address | None:
    """Parse the host of the normalised ``url`` as an IP address; None if the host is a name."""
    found = _URL.fullmatch(url)
    host = found["host"].strip("[]") if found else ""
    try:
        return ip_address(host)
    except ValueError:
        return None


def _plain_host(host: str) -> str:
    if host.startswith("["):
        return f"[{_address(host[1:-1], IPv6Address)}]"
    labels = host.split(".")
    if _NUMBER.fullmatch(labels[-1]):  # what a resolver would read as a number: 127.1, 2130706433, 0x7f.1
        return str(_address(host, IPv4Address))
    if len(host) > _LONGEST_NAME or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("must name a host, without a dot at its end")
    return host


def _address(text: str, kind: type[IPv4Address | IPv6Address]) -> Address:
    try:
        return kind(text)
    except ValueError:
        raise ValueError("must write an address in full: four decimal numbers, or IPv6 in brackets") from None
