"""Key rules: what the value of a name is, at every depth of nesting and in plain text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shipper.model.errors import ComponentError
from shipper.redact.escapes import shadow
from shipper.redact.gate import Gate
from shipper.redact.keys import KeyFinder, closing
from shipper.redact.rule import KeyRule
from shipper.redact.secrecy import is_placeholder
from shipper.redact.settings import RedactConfig
from tests.redact.gating import KEY, PACK_RULES, admit, full_gate


@pytest.mark.parametrize("names", [["*"], ["-_"], [""]])
def test_names_without_a_letter_are_refused(engine: str, names: list[str]) -> None:
    """A rule that takes everything is a mistake."""
    with pytest.raises(ComponentError) as caught:
        Gate(RedactConfig(packs=[], keys=names), hash_key=KEY, engine=engine)
    assert caught.value.field == "keys"


def nested(value: object, depth: int) -> str:
    """Return `value` as JSON in a string in JSON, `depth` times."""
    text = json.dumps({"a": 1, "password": value, "b": [2]})
    for _ in range(depth):
        text = json.dumps({"log": text})
    return text


def unnested(text: str, depth: int) -> object:
    """Return the innermost object."""
    for _ in range(depth):
        text = json.loads(text)["log"]
    return json.loads(text)


values = st.recursive(
    st.text(alphabet="aé\"\\\n/{}[]:,='", min_size=1, max_size=8)
    | st.integers()
    | st.booleans()
    | st.just("****")
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["x", 'y"', "token"]), inner, max_size=3),
    max_leaves=5,
)


@settings(max_examples=200, deadline=None)
@given(values, st.integers(0, 3))
def test_value_of_a_name_is_masked_whole_and_nothing_else_when_json_is_nested(engine: str, value: object, depth: int) -> None:
    """Law: at any depth a string becomes the mask, a number, array or object null, and the JSON around it is as it was; what is no secret stays."""
    wanted = "[REDACTED:password]" if isinstance(value, str) else None
    if isinstance(value, bool) or value in ([], {}) or (isinstance(value, str) and is_placeholder(value.encode())):
        wanted = value
    (out,) = admit(full_gate(engine), nested(value, depth).encode())
    assert unnested(out.decode(), depth) == {"a": 1, "password": wanted, "b": [2]}


@pytest.mark.parametrize(
    ("row", "wanted"),
    [
        ("password=abc next", "password=[REDACTED:password] next"),
        ("password = abc, x=1", "password = [REDACTED:password], x=1"),
        ("password=a,b;c)d rest", "password=[REDACTED:password] rest"),
        ("x?password=abc&y=1", "x?password=[REDACTED:password]&y=1"),
        ("password:abc,user:def", "password:[REDACTED:password],user:def"),
        ('password="a b" c', 'password="[REDACTED:password]" c'),
        ("password='a b' c", "password='[REDACTED:password]' c"),
        ("{'password': 'a b', 'c': 1}", "{'password': '[REDACTED:password]', 'c': 1}"),
        (':password=>"a b", c', ':password=>"[REDACTED:password]", c'),
        ("Headers{Authorization=[Bearer abc]}", "Headers{Authorization=[[REDACTED:authorization]]}"),
        ("Cookie: a=b; c=d", "Cookie: [REDACTED:cookie]"),
        ('{"m":"Cookie: a=b; c=d\\nHost: x"}', '{"m":"Cookie: [REDACTED:cookie]\\nHost: x"}'),
        ('{"m":"password=a\\\\b next"}', '{"m":"password=[REDACTED:password] next"}'),
        ('{"m":"password=abc"}', '{"m":"password=[REDACTED:password]"}'),
        ('{"m":"password="}', '{"m":"password="}'),
        ('{"m":"password=\\"a b\\" c"}', '{"m":"password=\\"[REDACTED:password]\\" c"}'),
        ('{"m":"password:\\nUser: x"}', '{"m":"password:\\nUser: x"}'),
        ('{"password":""}', '{"password":""}'),
        ('{"password":null}', '{"password":null}'),
        ('{"password" : "a"}', '{"password" : "[REDACTED:password]"}'),
        ('{"password":"cut off', '{"password":"[REDACTED:password]'),
        ('{"password":["cut', '{"password":[REDACTED:password]'),
        ("[REDACTED:password:1111] x", "[REDACTED:password:1111] x"),
        ("password: null", "password: null"),
        ("password:", "password:"),
        ("password=[REDACTED:password]", "password=[REDACTED:password]"),
        ('{"has_password":true,"password":false}', '{"has_password":true,"password":false}'),
        ("password: incorrect", "password: incorrect"),
        ("password=incorrect", "password=[REDACTED:password]"),
        ("invalid token: signature mismatch", "invalid token: signature mismatch"),
        ("password: changeme please", "password: [REDACTED:password] please"),
        ("password: <password> token=${TOKEN}", "password: <password> token=${TOKEN}"),
        ("token = self.get_token(request)", "token = self.get_token(request)"),
        ("if token == other.token:", "if token == other.token:"),
        ('self.api_key = os.environ["API_KEY"]', 'self.api_key = os.environ["API_KEY"]'),
        ("user[password]=abc&x=1", "user[password]=[REDACTED:password]&x=1"),
        ("user%5Bpassword%5D=abc&x=1", "user%5Bpassword%5D=[REDACTED:password]&x=1"),
        ('a["token"] = "abc"', 'a["token"] = "[REDACTED:token]"'),
        ("using API key: abc", "using API key: [REDACTED:api-key]"),
        ("mot de passe : abc", "mot de passe : [REDACTED:password]"),
        ("`password`: `abc`", "`password`: `[REDACTED:password]`"),
        ("пароль: abc", "пароль: [REDACTED:password]"),
        ("„password=abc“", "„password=[REDACTED:password]"),
        ('{"contrase\\u00f1a":"abc"}', '{"contrase\\u00f1a":"[REDACTED:password]"}'),
        ('{"m":"contrase\\u00f1a: abc"}', '{"m":"contrase\\u00f1a: [REDACTED:password]"}'),
        ('{"m":"{\\"a\\":\\"x\\\\ntoken=abc\\"}"}', '{"m":"{\\"a\\":\\"x\\\\ntoken=[REDACTED:token]\\"}"}'),
        ('{"name":"DB_PASSWORD","value":"abc"}', '{"name":"DB_PASSWORD","value":"[REDACTED:password]"}'),
        ('{"key":"order","value":"abc"}', '{"key":"order","value":"abc"}'),
        ('<add key="ClearTextPassword" value="abc" />', '<add key="ClearTextPassword" value="[REDACTED:password]" />'),
        ("PWD=/home/max MYSQL_PWD=abc", "PWD=/home/max MYSQL_PWD=[REDACTED:pwd]"),
        ("got cookie JSESSIONID=abc from client", "got cookie JSESSIONID=[REDACTED:session] from client"),
        ("Cookie: a=b; c=d were sent", "Cookie: [REDACTED:cookie] were sent"),
        ("Set-Cookie: a=b; Expires=Wed, 21 Oct 2026 07:28:00 GMT; Secure", "Set-Cookie: [REDACTED:cookie]"),
        ("Authorization: Newscheme abc1234567", "Authorization: [REDACTED:authorization]"),
        ('Authorization: Digest a="b c", d=e x', "Authorization: [REDACTED:authorization] x"),
        ("Authorization: required for x", "Authorization: required for x"),
        ('{"password":"[HMAC:password:0011223344556677]"}', '{"password":"[HMAC:password:0011223344556677]"}'),
        ('{"max_tokens":512,"token_count":3}', '{"max_tokens":512,"token_count":3}'),
        (
            '{"PassWord":"a","pass-word":"b","pass_word":"c"}',
            '{"PassWord":"M","pass-word":"M","pass_word":"M"}'.replace("M", "[REDACTED:password]"),
        ),
    ],
)
def test_values_in_plain_text_and_json_end_where_a_reader_would_end_them(engine: str, row: str, wanted: str) -> None:
    """Tokens at blanks and separators, quoted texts at their quotes, never beyond the JSON string around them."""
    assert admit(full_gate(engine), row.encode()) == [wanted.encode()]


def examples(rule: KeyRule) -> list[str]:
    """Return the values that a rule's own examples hold, without quotes."""
    keys, found = KeyFinder([(0, rule)]), []
    for text in map(str.encode, rule.match):
        ends = [place + 1 for place, sign in enumerate(text) if sign in b":="]
        values = [value for end in ends if (value := keys.find(text, shadow(text), end))]
        found += [text[value.start : value.end].strip(b'[]{}"').decode() for value in values]
    return found


NAMES = [
    pytest.param(rule, name, id=f"{rule.id}-{name}")
    for rule in PACK_RULES.values()
    if isinstance(rule, KeyRule)
    for name in rule.names
]


@pytest.mark.parametrize(("rule", "name"), NAMES)
def test_names_of_the_packs_are_found_in_every_usual_spelling(engine: str, rule: KeyRule, name: str) -> None:
    """With `_`, `-`, as camelCase or in one word, in capitals, behind a prefix where the name has a wildcard, in JSON and in text."""
    bare = name.lstrip("*_").replace("*", "x").replace("?", "2")
    words, value = bare.split("_"), examples(rule)[0]
    spellings = [
        "_".join(words),
        "-".join(words),
        "".join(words),
        "".join(map(str.capitalize, words)),
        "_".join(words).upper(),
        f"app.{bare}",
    ]
    if name.startswith("*"):
        spellings += ["my" + "".join(map(str.capitalize, words)), "X-My-" + "-".join(words)]
    rows = [
        (form % (spelling, value)).encode()
        for spelling in spellings
        for form in ('{"%s":"%s"}', "%s='%s'", '{"m":"{\\"%s\\": \\"%s\\"}"}')
    ]
    for row, out in zip(rows, admit(full_gate(engine), *rows), strict=True):
        assert b"[REDACTED:" in out, row
        assert value.encode() not in out


def test_own_names_are_masked_under_the_id_key(engine: str) -> None:
    """`keys:` adds to the packs."""
    gate = Gate(RedactConfig(keys=["pin", "*_iban"]), hash_key=KEY, engine=engine)
    assert admit(gate, b"p-i_n=1234") == [b"p-i_n=[REDACTED:key]"]
    assert admit(gate, b'{"PIN":1234,"from_iban":"x","pint":1,"token":"y"}') == [
        b'{"PIN":null,"from_iban":"[REDACTED:key]","pint":1,"token":"[REDACTED:token]"}'
    ]


@given(st.text(alphabet='a"\\', max_size=12), st.integers(0, 3))
def test_closing_finds_the_end_of_a_string_at_every_level(text: str, depth: int) -> None:
    """Law: encoding a string `depth` times more, its content ends where the encoder put the quote."""
    inner = json.dumps(text)
    prefix, suffix, level = '"', '"', 0
    body = inner[1:-1]
    for _ in range(depth):
        body, prefix, suffix, level = json.dumps(body)[1:-1], json.dumps(prefix)[1:-1], json.dumps(suffix)[1:-1], 2 * level + 1
    row = (prefix + body + suffix + "rest").encode()
    assert closing(row, len(prefix), level) == len(prefix) + len(body)
