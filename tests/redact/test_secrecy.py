"""Secrecy: placeholders, words and source code are no secrets; what is drawn by chance is told from what people write."""

from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shipper.redact.secrecy import SECRECY, is_code, is_placeholder, is_random, is_state

CLASSES = (string.ascii_letters + string.digits, "0123456789abcdef", string.ascii_lowercase + string.digits, "0123456789ABCDEF")


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "****",
        "xxxx-xxxx",
        "XXXXXXXX",
        "...",
        "-",
        "<password>",
        "<YOUR_API_KEY>",
        "${TOKEN}",
        "$DB_PASSWORD",
        "${{ secrets.X }}",
    ]
    + ["{{ token }}", "%s", "%(token)s", "%PASSWORD%", "#{token}", "{}", "{0}", "{password}", "YOUR_API_KEY", "your-token-here"]
    + [
        "PASSWORD",
        "API_KEY",
        "[REDACTED]",
        "[FILTERED]",
        "(hidden)",
        "<redacted>",
        "**REDACTED**",
        "REDACTED",
        "•••••",
        "null",
        "None",
    ]
    + ["Bearer <token>", "Basic ****", "Bearer ${ACCESS_TOKEN}", "[]"],
)
def test_placeholders_of_every_kind_are_no_secrets(text: str) -> None:
    """A log that shows one tells of a mistake, and must show it."""
    assert is_placeholder(text.encode())
    assert [SECRECY[name](text.encode()) for name in ("value", "given", "random", "mixed")] == [0] * 4


@pytest.mark.parametrize(
    "text",
    [
        "changeme",
        "admin123",
        "12345678",
        "x",
        "xx",
        "password",
        "secret",
        "$2b$12$abc",
        "$ecret1",
        "a***b",
        "<b64+/=",
        "{SSHA}abc",
    ]
    + ["example", "hidden7", "your", "Bearer abc", "p@ss{word}", "%41bc", "-p4ss-"],
)
def test_weak_and_odd_secrets_are_secrets(text: str) -> None:
    """They are in use somewhere."""
    assert SECRECY["value"](text.encode()) == len(text.encode())


@pytest.mark.parametrize(
    ("text", "state"),
    [("incorrect", True), ("YES)", True), ("expired.", True), ("must", True), ("changeit", False), ("hunter2", False)],
)
def test_words_about_a_secret_are_told_from_it(text: str, state: bool) -> None:
    """In whatever case, with the signs that follow a word."""
    assert is_state(text.encode()) is state


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("self.get_token(request)", True),
        ("getpass.getpass()", True),
        ("load_secret(self.path", True),
        ('os.environ["', True),
        ("other.token:", True),
        ("settings.DB_PASSWORD", True),
        ("config->api_key", True),
        ("max.muster", False),
        ("Passw0rd(1", False),
        ("abc", False),
    ],
)
def test_source_code_is_told_from_a_value(text: str, code: bool) -> None:
    """Calls, look-ups and attributes."""
    assert is_code(text.encode()) is code


@pytest.mark.parametrize("letters", CLASSES)
def test_what_is_drawn_by_chance_looks_so(letters: str) -> None:
    """Of keys of 32 characters as their issuers draw them, at least 97 in 100."""
    drawn = random.Random(1)
    texts = ["".join(drawn.choices(letters, k=32)) for _ in range(2000)]
    assert sum(is_random(text.encode()) for text in texts) >= 1940


@pytest.mark.parametrize(
    "text",
    [
        "authentication-required",
        "/var/lib/docker/containers",
        "2026-02-11T08:14:02Z",
        "getUserTokenByIdAndName",
        "kube-api-access-default",
    ]
    + [
        "12345678901234567890",
        "https://example.com/a1b2c3d4e5f6",
        "user:123456:profile:8",
        "a1b2c3d4",
        "org.example.Foo.Bar.Baz.Qux",
    ]
    + ["the-quick-brown-fox", "aaaaaaaaaaaaaaaa1111111111", "order_2026_02_11_0042", "x86_64-linux-gnu-3.11.2"],
)
def test_names_paths_dates_and_numbers_do_not_look_random(text: str) -> None:
    """What people and programs write."""
    assert not is_random(text.encode())


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a1b2c3d4", True),
        ("abcdefgh", False),
        ("12345678", False),
        ("a1b2c3", False),
        ("2026-02-11", False),
        ("1.2.3.4.5", False),
    ],
)
def test_mixed_wants_letters_and_digits(text: str, wanted: bool) -> None:
    """No word, no number, no date, no version."""
    assert bool(SECRECY["mixed"](text.encode())) is wanted


@pytest.mark.parametrize(
    ("text", "wanted"), [("123456", True), ("ab1-2cd", True), ("sent", False), ("12", False), ("12345678901", False)]
)
def test_code_is_what_a_person_types(text: str, wanted: bool) -> None:
    """Four to ten letters and digits."""
    assert bool(SECRECY["code"](text.encode())) is wanted


@given(st.binary(max_size=200))
def test_checks_never_raise_and_keep_all_or_nothing(found: bytes) -> None:
    """Law: for any bytes."""
    assert {check(found) for check in SECRECY.values()} <= {0, len(found)}
    assert {is_placeholder(found), is_state(found), is_code(found), is_random(found)} <= {True, False}
