"""Encryption at rest: Fernet keys in the order of `SCHEDULER_ENCRYPTION_KEYS`, newest first."""

from collections.abc import Sequence
from functools import cached_property

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from scheduler.errors import Misconfigured

SETTING = "SCHEDULER_ENCRYPTION_KEYS"
MAKE_A_KEY = (
    'python -c "from cryptography.fernet import Fernet; print(Fernet.generate_key().decode())"'
)


class Cipher:
    """Encrypts with the first key, decrypts with any: to rotate, put a new key first.

    Making one never fails, so that an app without the setting still starts; the first use does.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        self._keys = tuple(keys)

    def __repr__(self) -> str:
        return f"Cipher({len(self._keys)} keys)"

    def encrypt(self, plain: bytes) -> bytes:
        """The Fernet token of `plain`, URL-safe base64.

        Raises:
            Misconfigured: the setting is missing or malformed.
        """
        return self._fernet.encrypt(plain)

    def decrypt(self, token: bytes) -> bytes:
        """What `encrypt` was given.

        Raises:
            Misconfigured: the setting is missing or malformed, or its keys do not open the token.
        """
        try:
            return self._fernet.decrypt(token)
        except InvalidToken:
            raise Misconfigured(
                f"a stored value was encrypted with a key that the app setting {SETTING} "
                "does not list; put that key back at the end of the list"
            ) from None

    def check(self) -> None:
        """Makes sure that the keys can be used.

        Raises:
            Misconfigured: the setting is missing or malformed.
        """
        _ = self._fernet

    @cached_property
    def _fernet(self) -> MultiFernet:
        if not self._keys:
            raise Misconfigured(f"the app setting {SETTING} is missing; make a key: {MAKE_A_KEY}")
        return MultiFernet([_fernet(number, key) for number, key in enumerate(self._keys, 1)])


def _fernet(number: int, key: str) -> Fernet:
    try:
        return Fernet(key)
    except ValueError:
        raise Misconfigured(
            f"key {number} of the app setting {SETTING} is no Fernet key "
            f"(32 bytes in URL-safe base64); make one: {MAKE_A_KEY}"
        ) from None
