"""What a user's keychain accepts, lends and forgets."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.access import DataOwner
from backend.keys.errors import (
    ConflictingRequestKeysError,
    KeyNotEnrolledError,
    KeyNotFoundError,
    MalformedKeyError,
    MasterKeyError,
    UnreadableKeyError,
)
from backend.keys.keychain import Keychain
from backend.keys.master_keys import MasterKey, MasterKeyFile
from backend.keys.rotation import rotate_master_key
from backend.keys.vault import KeyVault, OwnEndpointConfig
from backend.tests.fakes.clock import Clock
from backend.tests.fakes.keys import InMemoryKeys, given
from backend.utils.llm import Caller

if TYPE_CHECKING:
    from pathlib import Path

ANN, BOB = DataOwner("ann"), DataOwner("bob")
OLD, NEW = SecretStr("sk-canary-old-0123456789"), SecretStr("sk-canary-new-0123456789")
NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SERVER = OwnEndpointConfig("https://models.example/v1", "llama")
NONE, HOUR = timedelta(0), timedelta(hours=1)


class Runtime:
    """A keychain with everything below it."""

    def __init__(self, *master_keys: MasterKey) -> None:
        self.store = InMemoryKeys()
        self.clock = Clock(NOON)
        self.vault = KeyVault(given(*master_keys))
        self.keychain = Keychain(self.store, self.vault, clock=self.clock)

    async def request_key(self, owner: DataOwner = ANN, **supplied: SecretStr) -> dict[str, str]:
        request_keys = await self.keychain.collect_request_keys(owner, supplied)
        return {provider: key.get_secret_value() for provider, key in request_keys.keys.items()}

    async def serving(self, **supplied: SecretStr) -> list[str]:
        """With what Ann is served: an address, or providers."""
        caller = (await self.keychain.collect_request_keys(ANN, supplied)).apply_to(Caller(user_id="ann"))
        own = caller.own_endpoint
        return (
            sorted(caller.keys) if own is None else [*caller.keys, own.base_url, own.key.get_secret_value()]
        )


@pytest.fixture
def runtime() -> Runtime:
    return Runtime()


class TestStored:
    async def test_a_key_serves_its_user_and_no_other(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)

        assert await runtime.request_key() == {"openai": OLD.get_secret_value()}
        assert await runtime.request_key(BOB) == {}
        assert await runtime.request_key(ANN._replace(tenant_id="acme")) == {}

    async def test_it_is_not_opened_before_a_call_needs_it(self, runtime: Runtime) -> None:
        kept = await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        spoilt = kept._replace(sealed=Runtime().vault.encrypt_key("another", kept.place, store_key=True))
        runtime.store.kept = [spoilt]

        await runtime.keychain.list_versions(ANN)
        request_keys = await runtime.keychain.collect_request_keys(ANN, {})

        with pytest.raises(UnreadableKeyError):
            request_keys.keys["openai"].get_secret_value()

    async def test_the_newest_version_serves_at_once(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=HOUR)
        await runtime.keychain.enrol_key(ANN, "openai", NEW, overlap=HOUR)

        assert await runtime.request_key() == {"openai": NEW.get_secret_value()}

    async def test_a_removed_key_serves_no_request(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_key(ANN, "openai", NEW, overlap=HOUR)

        await runtime.keychain.remove_key(ANN, "openai")

        assert await runtime.request_key() == {}
        with pytest.raises(KeyNotEnrolledError):
            await runtime.request_key(openai=OLD)

    async def test_what_is_not_there_cannot_be_removed(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)

        with pytest.raises(KeyNotFoundError):
            await runtime.keychain.remove_key(BOB, "openai")

    async def test_one_that_comes_with_the_request_goes_before_it(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)
        await runtime.keychain.enrol_key(ANN, "openai", NEW, overlap=HOUR)

        assert await runtime.request_key(openai=OLD) == {"openai": OLD.get_secret_value()}


class TestBrought:
    async def test_it_is_accepted_once_it_was_enrolled(self, runtime: Runtime) -> None:
        with pytest.raises(KeyNotEnrolledError):
            await runtime.request_key(openai=OLD)

        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)

        assert await runtime.request_key(openai=OLD) == {"openai": OLD.get_secret_value()}
        assert await runtime.request_key() == {}

    async def test_the_one_before_is_accepted_while_the_overlap_lasts(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)
        await runtime.keychain.enrol_key(ANN, "openai", NEW, store_key=False, overlap=HOUR)

        runtime.clock.now = NOON + HOUR - timedelta(seconds=1)
        assert await runtime.request_key(openai=OLD)

        runtime.clock.now = NOON + HOUR
        assert await runtime.request_key(openai=NEW)
        with pytest.raises(KeyNotEnrolledError):
            await runtime.request_key(openai=OLD)

    async def test_without_an_overlap_the_one_before_ends_at_once(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)
        await runtime.keychain.enrol_key(ANN, "openai", NEW, store_key=False, overlap=NONE)

        with pytest.raises(KeyNotEnrolledError):
            await runtime.request_key(openai=OLD)

    async def test_all_that_were_not_enrolled_are_named(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)

        with pytest.raises(KeyNotEnrolledError) as refused:
            await runtime.request_key(openai=OLD, gemini=OLD, acme=OLD)

        assert refused.value.providers == ("acme", "gemini")
        assert OLD.get_secret_value() not in f"{refused.value} {refused.value!r} {refused.value.as_dict()}"


class TestOwnEndpoint:
    async def test_it_serves_in_place_of_what_is_stored(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, NEW, overlap=NONE)

        assert await runtime.serving() == [SERVER.base_url, NEW.get_secret_value()]

    async def test_keys_that_come_with_the_request_take_its_place(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_key(ANN, "gemini", OLD, overlap=NONE)
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, NEW, overlap=NONE)

        assert await runtime.serving(openai=OLD) == ["gemini", "openai"]

    async def test_its_key_may_come_with_each_request(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, NEW, store_key=False, overlap=NONE)

        assert await runtime.serving(own=NEW) == [SERVER.base_url, NEW.get_secret_value()]
        assert await runtime.serving() == ["openai"]

    async def test_a_key_of_the_one_before_goes_there_while_the_overlap_lasts(self, runtime: Runtime) -> None:
        moved = SERVER._replace(base_url="https://new.example/v1")
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, OLD, store_key=False, overlap=NONE)
        await runtime.keychain.enrol_own_endpoint(ANN, moved, NEW, store_key=False, overlap=HOUR)

        assert await runtime.serving(own=OLD) == [SERVER.base_url, OLD.get_secret_value()]
        assert await runtime.serving(own=NEW) == [moved.base_url, NEW.get_secret_value()]

    async def test_keys_for_providers_beside_its_own_are_refused(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, NEW, overlap=NONE)

        with pytest.raises(ConflictingRequestKeysError):
            await runtime.serving(openai=OLD, own=NEW)

    async def test_it_is_not_opened_before_a_call_needs_it(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, NEW, overlap=NONE)
        request_keys = await runtime.keychain.collect_request_keys(ANN, {})
        request_keys.apply_to(Caller(user_id="ann"))

        assert request_keys.list_used_versions() == []


class TestPolicy:
    """Who has a key pays with it, unless they chose that the house may."""

    @pytest.mark.parametrize(
        ("enrolled", "fallback", "policy"),
        [
            ((), False, None),
            ((), True, None),
            (("stored",), False, "byok_only"),
            (("stored",), True, "byok_then_house"),
            (("brought",), False, "byok_only"),
            (("brought",), True, "byok_then_house"),
        ],
    )
    async def test_the_key_policy_follows_from_the_enrolled_keys(
        self, enrolled: tuple[str, ...], policy: str | None, runtime: Runtime, *, fallback: bool
    ) -> None:
        for kind in enrolled:
            await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=kind == "stored", overlap=NONE)
        await runtime.keychain.set_house_fallback(ANN, house_fallback=fallback)

        assert (await runtime.keychain.collect_request_keys(ANN, {})).policy == policy
        assert (await runtime.keychain.collect_request_keys(BOB, {})).policy is None

    async def test_only_lets_no_other_key_pay(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_own_endpoint(ANN, SERVER, NEW, overlap=NONE)
        await runtime.keychain.set_house_fallback(ANN, house_fallback=True)
        request_keys = await runtime.keychain.collect_request_keys(ANN, {})

        caller = request_keys.restrict_to_provider("openai").apply_to(Caller(user_id="ann"))

        assert (list(caller.keys), caller.own_endpoint, caller.effective_key_policy) == (
            ["openai"],
            None,
            "byok_only",
        )


class TestEnrolment:
    @pytest.mark.parametrize(
        "text",
        ["", " ", "short", "with a blank", "with\nnewline", "ünïcödé-key", "x" * 513, "a-key\x7f\x7f\x7f"],
        ids=repr,
    )
    async def test_what_cannot_be_a_key_is_refused_and_not_repeated(
        self, text: str, runtime: Runtime
    ) -> None:
        with pytest.raises(MalformedKeyError) as refused:
            await runtime.keychain.enrol_key(ANN, "openai", SecretStr(text), overlap=NONE)

        assert not text.strip() or text not in str(refused.value)

    async def test_blanks_around_a_key_are_no_part_of_it(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(
            ANN, "openai", SecretStr(f" {OLD.get_secret_value()}\n"), overlap=NONE
        )

        assert await runtime.request_key() == {"openai": OLD.get_secret_value()}

    @pytest.mark.parametrize(("key", "tail"), [("x" * 16 + "1234", "1234"), ("x" * 15 + "1234", "")])
    async def test_the_last_four_are_kept_of_a_long_key_only(
        self, key: str, tail: str, runtime: Runtime
    ) -> None:
        kept = await runtime.keychain.enrol_key(ANN, "openai", SecretStr(key), overlap=NONE)

        assert kept.tail == tail

    async def test_without_a_usable_master_key_nothing_is_kept(
        self, runtime: Runtime, tmp_path: Path
    ) -> None:
        (tmp_path / "file").touch()
        vault = KeyVault(MasterKeyFile(tmp_path / "file" / "master.keys"))

        with pytest.raises(MasterKeyError):
            await Keychain(runtime.store, vault).enrol_key(ANN, "openai", OLD, overlap=NONE)

        assert runtime.store.kept == []


class TestUse:
    async def test_a_key_that_was_opened_was_used(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_key(ANN, "gemini", NEW, overlap=NONE)
        request_keys = await runtime.keychain.collect_request_keys(ANN, {})
        request_keys.keys["openai"].get_secret_value()

        await runtime.keychain.release_request_keys(request_keys)

        used = {key.place.provider: key.last_used_at for key in await runtime.keychain.list_versions(ANN)}
        assert used == {"openai": NOON, "gemini": None}

    async def test_it_is_noted_at_most_once_a_minute(self, runtime: Runtime) -> None:
        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)
        for seconds, noted in [(0, 0), (59, 0), (60, 60)]:
            runtime.clock.now = NOON + timedelta(seconds=seconds)
            await runtime.keychain.release_request_keys(
                await runtime.keychain.collect_request_keys(ANN, {"openai": OLD})
            )
            (key,) = await runtime.keychain.list_versions(ANN)
            assert key.last_used_at == NOON + timedelta(seconds=noted)

    async def test_that_it_cannot_be_noted_fails_no_request(
        self, runtime: Runtime, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        async def away(*_: object) -> None:
            raise OSError

        await runtime.keychain.enrol_key(ANN, "openai", OLD, store_key=False, overlap=NONE)
        request_keys = await runtime.keychain.collect_request_keys(ANN, {"openai": OLD})
        monkeypatch.setattr(runtime.store, "record_use", away)

        await runtime.keychain.release_request_keys(request_keys)

        assert "keys.use_not_recorded" in caplog.text


class TestRotation:
    async def test_everything_is_locked_with_the_newest_and_opens_as_before(self) -> None:
        older, newer = MasterKey.generate(), MasterKey.generate()
        runtime = Runtime(older)
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        await runtime.keychain.enrol_key(BOB, "openai", NEW, store_key=False, overlap=NONE)

        done = await rotate_master_key(runtime.store, given(newer, older))

        assert done == (newer.name, 2, 0)
        after = Keychain(runtime.store, KeyVault(given(newer)))
        assert (await after.collect_request_keys(ANN, {})).keys[
            "openai"
        ].get_secret_value() == OLD.get_secret_value()
        assert (await after.collect_request_keys(BOB, {"openai": NEW})).keys

    async def test_an_unreadable_version_is_left_and_counted(self) -> None:
        newer = MasterKey.generate()
        runtime = Runtime()
        await runtime.keychain.enrol_key(ANN, "openai", OLD, overlap=NONE)
        before = list(runtime.store.kept)

        assert await rotate_master_key(runtime.store, given(newer)) == (newer.name, 0, 1)
        assert runtime.store.kept == before
