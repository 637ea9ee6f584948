"""What is sealed for one place opens there and nowhere else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from backend.keys.errors import UnreadableKeyError
from backend.keys.master_keys import MasterKey
from backend.keys.vault import EncryptedKey, KeyIdentity, KeyVault, OwnEndpointConfig
from backend.tests.fakes.keys import given

KEY = "sk-canary-of-ann-0123456789"
PLACE = KeyIdentity("acme", "ann", "openai", "row-1")
ELSEWHERE = [
    PLACE._replace(tenant_id="other"),
    PLACE._replace(user_id="bob"),
    PLACE._replace(provider="gemini"),
    PLACE._replace(row="row-2"),
    PLACE._replace(server=OwnEndpointConfig("https://models.example/v1", "llama")),
    KeyIdentity("ac", "meann", "openai", "row-1"),
]


@pytest.fixture
def vault() -> KeyVault:
    return KeyVault(given())


@pytest.fixture
def sealed(vault: KeyVault) -> EncryptedKey:
    return vault.encrypt_key(KEY, PLACE, store_key=True)


def test_what_was_sealed_opens(vault: KeyVault, sealed: EncryptedKey) -> None:
    assert vault.decrypt_key(sealed, PLACE) == KEY


@pytest.mark.parametrize("place", ELSEWHERE, ids=str)
def test_it_opens_nowhere_else(vault: KeyVault, sealed: EncryptedKey, place: KeyIdentity) -> None:
    for attempt in (vault.decrypt_key, vault.rewrap_data_key):
        with pytest.raises(UnreadableKeyError):
            attempt(sealed, place)
    with pytest.raises(UnreadableKeyError):
        vault.is_same_key(KEY, sealed, place)


def test_two_users_cannot_swap_their_boxes(vault: KeyVault, sealed: EncryptedKey) -> None:
    theirs = PLACE._replace(user_id="bob", row="row-2")
    of_bob = vault.encrypt_key("sk-of-bob-0123456789", theirs, store_key=True)

    for swapped in (replace(of_bob, box=sealed.box), replace(of_bob, wrapped=sealed.wrapped), sealed):
        with pytest.raises(UnreadableKeyError):
            vault.decrypt_key(swapped, theirs)


@pytest.mark.parametrize(
    "another",
    [
        None,
        OwnEndpointConfig("https://models.attacker.example/v1", "llama"),
        OwnEndpointConfig("https://models.example/v1", "dear"),
    ],
)
def test_the_key_for_an_endpoint_of_their_own_opens_for_no_other(
    vault: KeyVault, another: OwnEndpointConfig | None
) -> None:
    theirs = PLACE._replace(provider="own", server=OwnEndpointConfig("https://models.example/v1", "llama"))
    sealed = vault.encrypt_key(KEY, theirs, store_key=True)

    assert vault.decrypt_key(sealed, theirs) == KEY
    with pytest.raises(UnreadableKeyError):
        vault.decrypt_key(sealed, theirs._replace(server=another))


@pytest.mark.parametrize("part", ["wrapped", "box"])
@pytest.mark.parametrize("where", [0, 20, -1])
def test_what_was_altered_does_not_open(vault: KeyVault, sealed: EncryptedKey, part: str, where: int) -> None:
    altered = bytearray(getattr(sealed, part))
    altered[where] ^= 1

    with pytest.raises(UnreadableKeyError):
        vault.decrypt_key(spoilt(sealed, part, bytes(altered)), PLACE)


@pytest.mark.parametrize("part", ["wrapped", "box"])
def test_what_was_cut_short_does_not_open(vault: KeyVault, sealed: EncryptedKey, part: str) -> None:
    with pytest.raises(UnreadableKeyError):
        vault.decrypt_key(spoilt(sealed, part, getattr(sealed, part)[:8]), PLACE)


def test_the_same_key_is_never_sealed_the_same(vault: KeyVault, sealed: EncryptedKey) -> None:
    again = vault.encrypt_key(KEY, PLACE, store_key=True)

    assert not {sealed.wrapped, sealed.box, sealed.fingerprint} & {
        again.wrapped,
        again.box,
        again.fingerprint,
    }


def test_a_key_is_recognised_and_no_other(vault: KeyVault, sealed: EncryptedKey) -> None:
    assert vault.is_same_key(KEY, sealed, PLACE)
    for other in ("", KEY[:-1], f"{KEY}0", KEY.upper(), "ü"):
        assert not vault.is_same_key(other, sealed, PLACE)


@pytest.mark.parametrize("fingerprint", ["", "ü"])
def test_what_is_no_fingerprint_is_matched_by_nothing(
    vault: KeyVault, sealed: EncryptedKey, fingerprint: str
) -> None:
    spoiled = replace(sealed, fingerprint=fingerprint)

    assert not vault.is_same_key(KEY, spoiled, PLACE)
    assert not vault.is_same_key("", spoiled, PLACE)


def test_a_key_that_is_not_kept_is_recognised_and_cannot_be_had(vault: KeyVault) -> None:
    sealed = vault.encrypt_key(KEY, PLACE, store_key=False)

    assert vault.is_same_key(KEY, sealed, PLACE)
    with pytest.raises(UnreadableKeyError):
        vault.decrypt_key(sealed, PLACE)


def test_nothing_that_is_kept_holds_the_key(sealed: EncryptedKey) -> None:
    assert KEY not in repr(sealed)
    assert KEY.encode() not in (sealed.wrapped + (sealed.box or b""))


def test_an_older_master_key_still_opens() -> None:
    older, newer = MasterKey.generate(), MasterKey.generate()
    sealed = KeyVault(given(older)).encrypt_key(KEY, PLACE, store_key=True)

    assert KeyVault(given(newer, older)).decrypt_key(sealed, PLACE) == KEY


def test_what_is_locked_anew_opens_with_the_newest_alone_and_is_the_same_key() -> None:
    older, newer = MasterKey.generate(), MasterKey.generate()
    sealed = KeyVault(given(older)).encrypt_key(KEY, PLACE, store_key=True)

    anew = KeyVault(given(newer, older)).rewrap_data_key(sealed, PLACE)

    assert (anew.master, anew.box, anew.fingerprint) == (newer.name, sealed.box, sealed.fingerprint)
    assert KeyVault(given(newer)).decrypt_key(anew, PLACE) == KEY
    assert KeyVault(given(newer)).is_same_key(KEY, anew, PLACE)


def test_without_its_master_key_nothing_opens(sealed: EncryptedKey) -> None:
    with pytest.raises(UnreadableKeyError) as refused:
        KeyVault(given()).decrypt_key(sealed, PLACE)

    assert "openai" in str(refused.value)
    assert refused.value.__cause__ is None


def spoilt(sealed: EncryptedKey, part: str, value: bytes) -> EncryptedKey:
    return replace(sealed, wrapped=value) if part == "wrapped" else replace(sealed, box=value)
