import pytest
from cryptography.fernet import Fernet

from scheduler.errors import Misconfigured
from scheduler.security.encryption import Cipher


def new_key() -> str:
    return Fernet.generate_key().decode()


def test_what_was_encrypted_is_decrypted() -> None:
    cipher = Cipher([new_key()])
    token = cipher.encrypt(b"top secret")
    assert b"secret" not in token
    assert cipher.decrypt(token) == b"top secret"


def test_a_new_first_key_still_opens_what_the_old_one_closed() -> None:
    old, new = new_key(), new_key()
    token = Cipher([old]).encrypt(b"x")
    rotated = Cipher([new, old])
    assert rotated.decrypt(token) == b"x"
    assert Cipher([new]).decrypt(rotated.encrypt(b"y")) == b"y"


def test_a_key_taken_off_the_list_is_asked_for() -> None:
    token = Cipher([new_key()]).encrypt(b"x")
    with pytest.raises(Misconfigured, match="SCHEDULER_ENCRYPTION_KEYS does not list"):
        Cipher([new_key()]).decrypt(token)


def test_missing_keys_are_told_at_the_first_use_with_a_way_to_make_one() -> None:
    cipher = Cipher([])
    with pytest.raises(Misconfigured, match=r"SCHEDULER_ENCRYPTION_KEYS is missing.*generate_key"):
        cipher.encrypt(b"x")


@pytest.mark.parametrize("bad", ["short", "ä" * 44, "A" * 43 + "!"])
def test_a_malformed_key_is_told_by_its_number_and_not_by_its_text(bad: str) -> None:
    with pytest.raises(Misconfigured, match=r"key 2 of .*SCHEDULER_ENCRYPTION_KEYS") as fault:
        Cipher([new_key(), bad]).check()
    assert bad not in fault.value.message


def test_its_repr_shows_no_key() -> None:
    key = new_key()
    assert key not in repr(Cipher([key]))
