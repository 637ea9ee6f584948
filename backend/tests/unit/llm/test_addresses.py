"""Where an endpoint that a user names may be."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from backend.utils.llm.errors import ConfigError
from backend.utils.llm.model_config import parse_table
from backend.utils.llm.network_policy import (
    METADATA,
    NetworkPolicy,
    is_public_address,
    make_network_policy,
    normalize_url,
    parse_ip_host,
)

PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "93.184.216.34",
    "172.32.0.1",
    "100.128.0.1",
    "2606:4700::1111",
    "2a00:1450::1",
]
SPECIAL = [
    "0.0.0.0",  # noqa: S104
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "100.127.255.255",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:8.8.8.8",
    "::ffff:0:127.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b::168.63.129.16",
    "64:ff9b::169.254.169.254",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd00:42::42",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("address", PUBLIC)
def test_hosts_of_the_public_internet_may_be_named(address: str) -> None:
    assert is_public_address(ip_address(address))


@pytest.mark.parametrize("address", SPECIAL)
def test_an_address_with_a_special_purpose_is_no_host_of_the_public_internet(address: str) -> None:
    assert not is_public_address(ip_address(address))


def test_an_address_of_ipv4_is_judged_as_itself_where_there_is_only_ipv6() -> None:
    assert is_public_address(ip_address("64:ff9b::8.8.8.8"))


def test_what_the_operator_opens_is_permitted_and_nothing_beside_it() -> None:
    policy = NetworkPolicy((ip_network("10.1.0.0/16"), ip_network("fd12::/64")))

    permitted = [
        text for text in [*PUBLIC, *SPECIAL, "10.1.2.3", "fd12::5"] if policy.permits(ip_address(text))
    ]

    assert permitted == [*PUBLIC, "10.1.2.3", "fd12::5"]


def test_metadata_is_never_permitted() -> None:
    policy = NetworkPolicy((ip_network("0.0.0.0/0"), ip_network("::/0")))

    assert [address for address in METADATA if policy.permits(address)] == []


def test_clear_text_stays_in_the_networks_that_the_operator_allows() -> None:
    policy = make_network_policy("http://models.example", (ip_network("10.0.0.0/8"),))

    assert policy.permits(ip_address("10.0.0.1"))
    assert not policy.permits(ip_address("8.8.8.8"))


@pytest.mark.parametrize(
    ("url", "written"),
    [
        ("https://models.example/v1", "https://models.example/v1"),
        ("https://models.example/v1/", "https://models.example/v1"),
        ("HTTPS://Models.Example:443", "https://models.example"),
        ("https://models.example:8443/a/b-c_d.e~f+g@h", "https://models.example:8443/a/b-c_d.e~f+g@h"),
        ("https://8.8.8.8/v1", "https://8.8.8.8/v1"),
        ("https://[2606:4700:0::1111]:8443", "https://[2606:4700::1111]:8443"),
        ("http://ollama:11434/v1", "http://ollama:11434/v1"),
        ("https://xn--mnchen-3ya.example", "https://xn--mnchen-3ya.example"),
    ],
)
def test_an_address_is_written_in_one_way(url: str, written: str) -> None:
    assert normalize_url(url) == written
    assert normalize_url(written) == written


@pytest.mark.parametrize("url", ["https://8.8.8.8", "https://[::1]:8443/v1"])
def test_a_host_that_is_an_address_is_known_as_one(url: str) -> None:
    assert parse_ip_host(url) is not None
    assert parse_ip_host("https://models.example") is None


@pytest.mark.parametrize(
    "network", ["0.0.0.0/0", "8.8.8.0/24", "169.254.0.0/16", "fe80::/10", "::/0", "224.0.0.0/4"]
)
def test_the_operator_can_open_private_networks_only(network: str) -> None:
    with pytest.raises(ConfigError, match=r"private_networks.*must be private networks"):
        parse_table(f'private_networks = ["{network}"]', environ={})
