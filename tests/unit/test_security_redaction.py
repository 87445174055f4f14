import io
import json
import logging
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.security.redaction import RedactingFilter, Redactor, passwords
from scheduler.settings import Settings

SECRET = 's3cr{et}"\\/ÿ;x'


def settings() -> Settings:
    return Settings.load(
        {
            "SCHEDULER_ADMIN_KEY": "an-admin-key-of-length",
            "SCHEDULER_KEY_PEPPER": "a-pepper-of-enough-length",
            "SCHEDULER_ENCRYPTION_KEYS": "encryption-key-one, encryption-key-two",
            "AzureWebJobsStorage": "AccountName=a;AccountKey=c3RvcmFnZS1rZXk=;EndpointSuffix=x",
            "SCHEDULER_CONNECTION_ONE": "Driver=X;UID=u;PWD=plain-password;Database=d",
            "SCHEDULER_CONNECTION_TWO": "Driver=X;Password={br;aced}}pass};UID=u",
        }
    )


@pytest.mark.parametrize(
    "secret",
    [
        "an-admin-key-of-length",
        "a-pepper-of-enough-length",
        "encryption-key-one",
        "encryption-key-two",
        "c3RvcmFnZS1rZXk=",
        "plain-password",
        "br;aced}pass",
        "br;aced}}pass",
    ],
)
def test_each_secret_of_the_settings_is_masked(secret: str) -> None:
    text = Redactor.of(settings()).text(f"it failed for {secret}, sadly")
    assert text == "it failed for ***, sadly"


@pytest.mark.parametrize("form", [SECRET, json.dumps(SECRET)[1:-1], quote(SECRET, safe="")])
def test_a_secret_is_masked_in_its_escaped_forms_too(form: str) -> None:
    assert Redactor([SECRET]).text(f"<{form}>") == "<***>"


def test_a_secret_that_holds_another_is_masked_whole() -> None:
    assert Redactor(["pass", "password-of-old"]).text("password-of-old") == "***"


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("Driver=X;PWD=abc;UID=u", "Driver=X;PWD=***;UID=u"),
        ("password = {a;b}}c} end", "password = *** end"),
        ("'Password=x y'", "'Password=*** y'"),
        ("AccountKey=abc==;x", "AccountKey=***;x"),
        ("key jsk_abcd1234_" + "A" * 43 + " was", "key jsk_abcd1234_*** was"),
        ("PWD=", "PWD="),
        ("nothing to hide", "nothing to hide"),
    ],
)
def test_what_stands_behind_a_keyword_is_masked(text: str, masked: str) -> None:
    assert Redactor([]).text(text) == masked


def test_a_value_too_short_is_masked_behind_its_keyword_only() -> None:
    assert Redactor(["sa"]).text("usage PWD=sa") == "usage PWD=***"


def test_json_keeps_its_shape() -> None:
    value = {"rows": [["plain-password", 1, None, True]], "plain-password": {"a": 1.5}}
    assert Redactor(["plain-password"]).json(value) == {
        "rows": [["***", 1, None, True]],
        "***": {"a": 1.5},
    }


@given(st.text(min_size=4), st.text(), st.text())
def test_a_known_secret_is_never_left(secret: str, before: str, after: str) -> None:
    redacted = Redactor([secret]).text(before + secret + after)
    assert not any(secret in part for part in redacted.split("***"))


def test_passwords_of_connection_strings_are_found() -> None:
    assert passwords("Driver=X;Pwd= a b ;UID=u;PASSWORD={x}}y;}") == ["a b", "x}y;"]
    assert passwords("Driver=X;UID=u;Trusted_Connection=yes") == []


def test_logs_are_masked_in_message_extra_fields_and_trace() -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(message)s %(detail)s"))
    handler.addFilter(RedactingFilter(Redactor(["plain-password"])))
    logger = logging.Logger("t")
    logger.addHandler(handler)
    try:
        raise ValueError("login with plain-password")
    except ValueError:
        logger.exception("no %s", "plain-password", extra={"detail": {"why": "plain-password"}})
    assert "plain-password" not in stream.getvalue()
    assert stream.getvalue().startswith("no *** {'why': '***'}\nTraceback")
