"""From the headers of a request to its principal."""

import hmac
from collections.abc import Mapping
from datetime import datetime, timedelta

from scheduler.clock import Clock
from scheduler.errors import NotAuthenticated
from scheduler.security.keys import KeyStore
from scheduler.security.principals import EVERY_STEP_TYPE, Principal, Role
from scheduler.telemetry import get_logger

QUERY_NAMES = frozenset({"code", "api_key", "apikey", "x-api-key", "access_token"})
FIRST_ADMIN = Principal(
    "first-admin", "SCHEDULER_ADMIN_KEY", Role.ADMIN, frozenset({EVERY_STEP_TYPE})
)
TELL_FIRST_ADMIN_EVERY = timedelta(days=1)
_MISSING = "no API key came with the request; send one in the header X-API-Key"
_INVALID = (
    "the API key is not valid: it may be mistyped, expired or revoked; "
    "ask an administrator for a new one"
)
_IN_QUERY = (
    "an API key does not belong into the address, where logs keep it; "
    "send it in the header X-API-Key, and revoke the one that was sent"
)

log = get_logger(__name__)


class Authenticator:
    """Knows callers by `X-API-Key`, or by `Authorization: Bearer` when that header is absent."""

    def __init__(self, keys: KeyStore, *, admin_key: str | None, clock: Clock) -> None:
        self._keys = keys
        self._admin_key = admin_key
        self._clock = clock
        self._told: datetime | None = None

    async def authenticate(self, headers: Mapping[str, str], query: Mapping[str, str]) -> Principal:
        """The caller of a request.

        Raises:
            NotAuthenticated: no key, one in the query, or one that is not valid; the text does
                not tell an unknown key from a revoked or expired one.
            Misconfigured: `SCHEDULER_KEY_PEPPER` is missing.
            StorageUnavailable: storage cannot be reached, and the key is not in the cache.
        """
        if any(name.lower() in QUERY_NAMES for name in query):
            raise NotAuthenticated(_IN_QUERY)
        text = _credential({name.lower(): value for name, value in headers.items()})
        if self._is_admin_key(text):
            self._tell_first_admin()
            return FIRST_ADMIN
        key = await self._keys.find(text)
        if key is None:
            raise NotAuthenticated(_INVALID)
        return key.principal

    def _tell_first_admin(self) -> None:
        """Once a day and process: what each of its calls did is in the audit."""
        now = self._clock.now()
        if self._told is not None and now - self._told < TELL_FIRST_ADMIN_EVERY:
            return
        self._told = now
        log.warning(
            "the first admin key is in use; it is for emergencies: give each caller a key",
            extra={"action": "use_first_admin_key", "principal": FIRST_ADMIN.id},
        )

    def _is_admin_key(self, text: str) -> bool:
        if self._admin_key is None:
            return False
        return hmac.compare_digest(text.encode(errors="replace"), self._admin_key.encode())


def _credential(headers: Mapping[str, str]) -> str:
    key = headers.get("x-api-key", "").strip()
    if key:
        return key
    scheme, _, token = headers.get("authorization", "").strip().partition(" ")
    if scheme and scheme.lower() != "bearer":
        raise NotAuthenticated(
            f"{_MISSING}; the Authorization header is read with the scheme Bearer only"
        )
    if not token.strip():
        raise NotAuthenticated(_MISSING)
    return token.strip()
