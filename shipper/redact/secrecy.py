r"""Secrecy: whether a text can be a secret, where only the words around it say that it is one.

RULES
- What shows that there is a secret without being one stays, as whoever reads the log needs it: placeholders of every templating
  language (`<token>`, `${TOKEN}`, `{{ token }}`, `%s`, `YOUR_API_KEY`), and what was masked before (`****`, `[FILTERED]`).
- In plain text, without quotes, a value may also be a word about the secret (`password: incorrect`) or source code
  (`token = self.get_token(request)`). A word of state is taken for one only behind a blank, `password=required` is masked.
- `random` wants 16 characters or more, letters and digits that take turns: keys and tokens as they are drawn, not words, paths, dates,
  names or numbers. Kinds are lower case, upper case and digits. Of text drawn by chance every second or third character is of another
  kind than the one before, and digits stand in several places; in names joined from words (`getUserTokenById2`) in one or two.
- All checks take the shadow of a row (see `escapes.py`) and answer how many bytes count, as validators do.
"""

from __future__ import annotations

import binascii
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

_MASKED = rb"redact(?:ed)?|filtered|masked|scrubbed|saniti[sz]ed|obfuscated|censored"
_SHOWN = rb"hidden|removed|omitted|protected|suppressed|secret|private|encrypted|stripped|snip(?:ped)?|not[ _-]?set|unset|none|null|empty"
_OPEN, _CLOSE = rb"(?:\*{1,3}|\[|\(|<|\{){1,3} ?", rb"[^\])>}*\s\"]{0,24} ?(?:\*{1,3}|\]|\)|>|\}){1,3}"
_SCHEME = rb"(?:(?:bearer|basic|digest|token|api-?key|negotiate|ntlm)[ ]{1,3})?"
_PLACEHOLDER = b"|".join(
    (
        _OPEN + rb"(?:" + _MASKED + b"|" + _SHOWN + rb")" + _CLOSE,
        _MASKED,
        rb"<[a-z][a-z0-9 _.:/-]{0,40}>",
        rb"\$\{\{?[^}\"]{0,80}\}{0,2}|\$\([^)\"]{0,80}\)?|\$(?-i:[A-Z_][A-Z0-9_]*)",
        rb"%(?-i:[A-Z_][A-Z0-9_]*)%|%\([a-z_.]{1,40}\)[sdr]|%[sdrvq@]|%\{[^}\"]{0,80}\}",
        rb"\{\{[^}\"]{0,80}\}{0,2}|\{[a-z_][a-z0-9_.]*\}|\{[0-9]?\}|\[ ?\]|#\{[^}\"]{0,80}\}|<%[^>\"]{0,80}>?",
        rb"x{3,}(?:[-_ .]x+)*|\*+(?:[- ]\*+)*|\.{3,}|-+|_{3,}|\?+|#{3,}|(?:\xe2\x80\xa2)+|\xe2\x80\xa6",
        rb"(?:your|insert|enter|replace)[-_ ](?:[a-z]+[-_ ]){0,4}[a-z]+|your(?:password|passwd|token|secret|apikey)(?:here)?",
        rb"(?-i:(?:[A-Z]+[_-]){0,4}(?:PASSWORD|PASSWD|PASS|PASSPHRASE|TOKEN|SECRET|APIKEY|KEY|VALUE|HERE))",
    )
)
_END = rb"(?=[\s\"'`,;)\]}>&\x04\x0c]|\Z)"
_LEADING = re.compile(b"(?i)" + _SCHEME + b"(?:" + _PLACEHOLDER + b")" + _END)
_WHOLE = re.compile(rb"(?i)\s*" + _SCHEME + rb"(?:" + _PLACEHOLDER + rb"|null|none|undefined)?\s*")
_STATES = frozenset(
    b"yes no on off true false ok is are was were has had have been not no must should can cannot could may will would and or for "
    b"of in on to the a an by from with without "
    b"required incorrect invalid wrong expired missing empty failed failure changed reset accepted rejected set unset given found "
    b"denied disabled enabled mismatch mismatched correct valid needed unknown updated removed deleted created sent received used "
    b"unchanged unavailable weak strong short long too please enter "
    b"str string bytes text int integer bool boolean number char varchar object array any optional".split()
)
_CODE = re.compile(
    rb"""(?x)
    [A-Za-z_]+ (?:(?:\.|->|::)[A-Za-z_]\w*)* (?: \((?:[\w.,=*\x04'"\s]|\Z) .* | \(\) | \[[\x04'"] .* )
  | (?:self|this|cls|os|sys|process|env|args|opts|options|params|config|cfg|conf|settings|req|request|res|response|ctx|context|other)
    (?:(?:\.|->|::)[A-Za-z_]\w*)+ :?\s?
  | (?:[A-Za-z_]+(?:\.|->|::))+ (?i:[a-z_]*(?:token|password|passwd|secret|key|credentials?)) :?\s?
    """,
    re.DOTALL,
)
_KINDS = bytes(
    0x30 if chr(byte).isdigit() else 0x41 if chr(byte).isupper() else 0x61 if chr(byte).islower() else 0x20 for byte in range(128)
) + bytes(128)
_TURN = re.compile(b"(?<=0)[Aa]|(?<=[Aa])0")
_CHANGE = re.compile(b"(?<=0)[Aa]|(?<=[Aa])0|(?<=a)A")
_OTHER = re.compile(rb"[^A-Za-z0-9+/=_.~%!$^*-]|://")
_DATED = re.compile(rb"(?:19|20)[0-9]{2}-?[0-9]{2}-?[0-9]{2}(?:[T ]|\Z)|v?[0-9]+(?:\.[0-9]+)+")
_DIGIT, _LETTER = re.compile(b"[0-9]"), re.compile(b"[A-Za-z]")
_TYPED = 8
_SHORTEST, _TURNS, _SHARE, _DISTINCT = 16, 3, 0.15, 8


def is_placeholder(found: bytes) -> bool:
    """Whether a value, with or without a scheme before it, stands for a secret instead of being one; nothing at all does too."""
    return _WHOLE.fullmatch(found) is not None


def begins_placeholder(text: bytes, start: int) -> bool:
    """Whether a placeholder stands at `start` of a plain text."""
    return _LEADING.match(text, start) is not None


def is_state(word: bytes) -> bool:
    """Whether a word of plain text says how it is about a secret: `password: incorrect`."""
    return word.rstrip(b".,:;!?)'\x02\x01").lower() in _STATES


def is_code(found: bytes) -> bool:
    """Whether a value of plain text, without quotes and with the character behind it, is source code that yields one."""
    return _CODE.fullmatch(found) is not None


def is_random(found: bytes) -> bool:
    """Whether a text looks drawn by chance, and long enough to be guessed by nobody."""
    size = len(found)
    if size < _SHORTEST or _OTHER.search(found):
        return False
    kinds = found.translate(_KINDS)
    turns, changes = len(_TURN.findall(kinds)), len(_CHANGE.findall(kinds))
    return turns >= _TURNS and changes >= _SHARE * size and len(set(found)) >= _DISTINCT


def value(found: bytes) -> int:
    """Any value, if it is no placeholder."""
    return 0 if is_placeholder(found) else len(found)


def given(found: bytes) -> int:
    """A value given in running text: no placeholder, and no word about it."""
    return 0 if is_placeholder(found) or is_state(found) else len(found)


def random(found: bytes) -> int:
    """A value that looks drawn by chance."""
    return len(found) if is_random(found) else 0


def mixed(found: bytes) -> int:
    """A value of eight characters or more with letters and digits, or one drawn by chance. No word, no number, no date."""
    if len(found) < _TYPED or _OTHER.search(found):
        return 0
    told = _DIGIT.search(found) and _LETTER.search(found) and not _DATED.match(found)
    return len(found) if told else random(found)


def code(found: bytes) -> int:
    """A code a person types: 4 to 10 letters and digits, one digit at least."""
    bare = found.replace(b"-", b"").replace(b" ", b"")
    return len(found) if 4 <= len(bare) <= 10 and bare.isalnum() and not bare.isalpha() else 0


def discord(found: bytes) -> int:
    """A token of Discord: its first part is base64 of the bot's id, a number."""
    head = found.partition(b".")[0]
    try:
        decoded = binascii.a2b_base64(head + b"===")
    except ValueError:
        return 0
    return len(found) if decoded.isdigit() else 0


SECRECY: dict[str, Callable[[bytes], int]] = {
    "value": value,
    "given": given,
    "random": random,
    "mixed": mixed,
    "code": code,
    "discord": discord,
}
"""By the name a rule writes as its `validator`."""
