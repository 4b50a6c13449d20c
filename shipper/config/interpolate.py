"""Interpolation: `${VAR}`, `${VAR:-default}`, `${secret:NAME}`, and `$$` for a dollar.

RULES
- It happens after YAML was read, in scalars only, never in keys: what comes in is a value and cannot add a key or a list.
- A `$` that neither `{` nor `$` follows stands for itself, as in a regular expression.
- As in a shell, the default also stands for a variable that is set to nothing.
- The nodes remember what was written. Messages show that; values of variables and secrets appear in none.
- All values together are at most 4 MiB.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from shipper.config import document, nodes, suggest
from shipper.model.errors import Fault

VALUES_BYTES_MAX = 4 << 20
_REFERENCE = re.compile(r"\$\$|\$\{([^{}]*)(\}?)")
_VARIABLE = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)
_SECRET = re.compile(r"secret:([A-Za-z0-9_][A-Za-z0-9_./-]*)")
Secrets = Callable[[str], str | None]


class Interpolation:
    """Puts the values of one environment into the nodes of one document."""

    def __init__(self, written: document.Document, env: Mapping[str, str], secrets: Secrets) -> None:
        """Take the document, whose faults grow, and where values come from. `secrets` may raise OSError."""
        self._document = written
        self._env, self._secrets = env, secrets
        self._bytes = 0

    def apply(self, node: nodes.Node, verbatim: frozenset[str] = frozenset()) -> None:
        """Resolve a node and all in it, but not below keys named in `verbatim`. Doing it twice does nothing."""
        if isinstance(node, nodes.Word):
            if "$" in node.text and node.written is None and not node.broken:
                self._resolve(node)
        elif isinstance(node, nodes.Items):
            for item in node.items:
                self.apply(item, verbatim)
        elif isinstance(node, nodes.Mapping):
            for name, (_, value) in node.entries.items():
                if name not in verbatim:
                    self.apply(value, verbatim)

    def _resolve(self, node: nodes.Word) -> None:
        written = node.text
        whole = _REFERENCE.fullmatch(written)
        text = _REFERENCE.sub(lambda found: self._value(node, found), written)
        node.written, node.loose = written, bool(whole and whole[1])
        node.text, node.value = text, text
        self._bytes += len(text)
        if self._bytes > VALUES_BYTES_MAX:
            self._refuse(node, written, f"interpolated values are larger than {VALUES_BYTES_MAX >> 20} MiB together")

    def _value(self, node: nodes.Word, found: re.Match[str]) -> str:
        """The text for one reference; "" where there is none, and a fault is noted."""
        reference, name = found[0], found[1]
        if reference == "$$":
            return "$"
        if not found[2]:
            self._refuse(node, reference, "this ${ is never closed", "write $${ for the characters themselves")
        elif secret := _SECRET.fullmatch(name):
            return self._secret(node, reference, secret[1])
        elif variable := _VARIABLE.fullmatch(name):
            return self._variable(node, reference, variable)
        else:
            hint = "write ${NAME}, ${NAME:-default} or ${secret:NAME}; $${ stands for the characters themselves"
            self._refuse(node, reference, f"{suggest.shown(reference)} names no variable", hint)
        return ""

    def _variable(self, node: nodes.Word, reference: str, variable: re.Match[str]) -> str:
        name, default = variable[1], variable[2]
        value = self._env.get(name)
        if default is not None:
            return value or default
        if value is None:
            close = suggest.nearest(name, self._env, cutoff=0.7)
            hint = (f"did you mean {close}? " if close else "") + f"set it, or give a default: ${{{name}:-...}}"
            self._refuse(node, reference, f"the environment variable {name} is not set", hint)
        return value or ""

    def _secret(self, node: nodes.Word, reference: str, name: str) -> str:
        try:
            value = self._secrets(name)
        except OSError as error:
            self._refuse(node, reference, f"the secret {name} cannot be read: {error.strerror}")
            return ""
        if value is None:
            hint = f"secrets are not environment variables; for one, write ${{{name}}}" if name in self._env else ""
            self._refuse(node, reference, f"there is no secret {name}", hint)
        return value or ""

    def _refuse(self, node: nodes.Word, reference: str, message: str, hint: str = "") -> None:
        """Note a fault at the reference itself, where it stands on the node's lines as written."""
        at = self._document.text.find(reference, node.start, node.stop)
        node.broken = True
        if at < 0:
            self._document.fault(node, message, hint)
        else:
            self._document.note(Fault(self._document.span(at, at + len(reference)), message, hint))
