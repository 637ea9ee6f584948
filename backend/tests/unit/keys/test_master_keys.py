"""Where the keys that lock all others come from."""

from __future__ import annotations

import pickle
import stat
from typing import TYPE_CHECKING

import pytest
from pydantic import SecretStr

from backend.keys.errors import MasterKeyError
from backend.keys.master_keys import EnvironmentMasterKeys, MasterKey, MasterKeyFile, load_master_keys
from backend.tests.fakes.keys import given

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "kept" / "master.keys"


class TestMasterKey:
    def test_it_is_written_and_read(self) -> None:
        made = MasterKey.generate()

        assert MasterKey.from_text(made.to_text()) == made

    def test_no_two_are_the_same(self) -> None:
        assert len({MasterKey.generate().name for _ in range(20)}) == 20

    def test_it_is_not_printed(self) -> None:
        made = MasterKey.generate()

        assert repr(made) == f"MasterKey(name='{made.name}')"

    def test_it_is_not_pickled(self) -> None:
        with pytest.raises(TypeError):
            pickle.dumps(MasterKey.generate())

    @pytest.mark.parametrize("text", ["", "short", "ü" * 44, "A" * 43, "A" * 88, "!" * 44])
    def test_what_is_no_key_is_refused_and_not_repeated(self, text: str) -> None:
        with pytest.raises(MasterKeyError) as refused:
            MasterKey.from_text(text)

        assert not text or text not in str(refused.value)


class TestGivenMasters:
    def test_the_first_one_locks_and_all_of_them_open(self) -> None:
        first, second = MasterKey.generate(), MasterKey.generate()
        master_keys = given(first, second)

        assert master_keys.newest_key() == first
        assert [master_keys.find_key(key.name) for key in (first, second)] == [first, second]
        assert master_keys.find_key("another") is None

    def test_blanks_between_them_do_not_matter(self) -> None:
        key = MasterKey.generate()

        assert EnvironmentMasterKeys(SecretStr(f" {key.to_text()} ,\n")).newest_key() == key

    def test_one_that_is_no_key_spoils_all(self) -> None:
        with pytest.raises(MasterKeyError, match="keys new"):
            EnvironmentMasterKeys(SecretStr(f"{MasterKey.generate().to_text()},canary"))

    def test_they_go_before_the_file(self, path: Path) -> None:
        key = MasterKey.generate()

        assert load_master_keys(SecretStr(key.to_text()), path).newest_key() == key
        assert not path.exists()


class TestMasterFile:
    def test_it_is_made_when_it_is_first_needed_for_its_owner_alone(self, path: Path) -> None:
        master_keys = MasterKeyFile(path)
        assert not path.exists()

        made = master_keys.get_or_create_newest_key()

        assert MasterKeyFile(path).newest_key() == made
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700

    def test_looking_for_a_key_makes_none(self, path: Path) -> None:
        with pytest.raises(MasterKeyError):
            MasterKeyFile(path).find_key("any")

        assert not path.exists()

    def test_one_that_stored_keys_need_is_not_made_anew(
        self, path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Its file is not there for a moment: a disk is not mounted, or a backup is put back."""
        master_keys = MasterKeyFile(path)
        before = master_keys.get_or_create_newest_key()
        aside = path.rename(path.with_suffix(".aside"))

        with pytest.raises(MasterKeyError) as refused:
            master_keys.newest_key()
        with pytest.raises(MasterKeyError):
            master_keys.find_key(before.name)
        with pytest.raises(MasterKeyError):
            master_keys.rotate({before.name})

        assert str(path) not in str(refused.value)
        assert not path.exists()
        assert [str(path) in line for line in caplog.messages] == [True]
        aside.rename(path)
        assert master_keys.newest_key() == before

    def test_of_two_who_make_it_at_once_both_have_the_same(self, path: Path) -> None:
        late, early = MasterKeyFile(path), MasterKeyFile(path)
        made = early.get_or_create_newest_key()

        late._write([MasterKey.generate()], replace=False)

        assert late.newest_key() == early.newest_key() == made
        assert [one.name for one in path.parent.iterdir()] == [path.name]

    def test_a_new_one_comes_in_front_and_the_one_before_stays(self, path: Path) -> None:
        master_keys = MasterKeyFile(path)
        before = master_keys.get_or_create_newest_key()

        newest = master_keys.rotate(names_in_use=())

        assert master_keys.newest_key() == newest != before
        assert master_keys.find_key(before.name) == before
        assert stat.S_IMODE(path.stat().st_mode) == 0o600

    @pytest.mark.parametrize("used", [True, False])
    def test_an_older_one_stays_if_anything_is_locked_with_it(self, path: Path, *, used: bool) -> None:
        master_keys = MasterKeyFile(path)
        oldest = master_keys.get_or_create_newest_key()
        master_keys.rotate(names_in_use=())

        master_keys.rotate(names_in_use={oldest.name} if used else ())

        assert (master_keys.find_key(oldest.name) is not None) == used

    def test_a_change_by_another_process_is_followed(self, path: Path) -> None:
        here, there = MasterKeyFile(path), MasterKeyFile(path)
        here.get_or_create_newest_key()

        newest = there.rotate(names_in_use=())

        assert here.newest_key() == newest

    def test_a_file_without_a_key_is_not_taken_for_a_first_use(self, path: Path) -> None:
        path.parent.mkdir()
        path.write_text("# nothing\n")

        with pytest.raises(MasterKeyError):
            MasterKeyFile(path).get_or_create_newest_key()

    @pytest.mark.parametrize(("mode", "warned"), [(0o600, False), (0o640, True), (0o604, True)])
    def test_others_than_the_owner_who_may_read_it_are_warned_of(
        self, path: Path, mode: int, caplog: pytest.LogCaptureFixture, *, warned: bool
    ) -> None:
        MasterKeyFile(path).get_or_create_newest_key()
        path.chmod(mode)

        MasterKeyFile(path).newest_key()

        assert ("open to others" in caplog.text) == warned

    def test_an_unwritable_folder_is_reported(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()

        with pytest.raises(MasterKeyError, match="cannot be"):
            MasterKeyFile(tmp_path / "file" / "master.keys").get_or_create_newest_key()
