"""Components that exist only for the tests of the loader, and a short way to load with them."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from shipper.config import load as loading
from shipper.config.condition import Condition
from shipper.config.fields import Address, ComponentConfig, Duration, FilePath, FilePattern, Rate, Secret, Size
from shipper.config.find import UnknownComponentError


class File:
    class Config(ComponentConfig):
        include: list[FilePath]
        exclude: list[FilePattern] = []
        ignore_older: Duration | None = None
        encoding: Literal["utf-8", "utf-16", "latin-1"] = "utf-8"
        start: Literal["beginning", "end"] = "beginning"
        max_line: Size = Size(1024)


class Lines:
    class Config(ComponentConfig):
        pass


class Multiline:
    class Config(ComponentConfig):
        preset: Literal["python", "java"]
        lines_max: Annotated[int, msgspec.Meta(ge=1, le=500)] = 100


class Json:
    class Config(ComponentConfig):
        strict: bool = False


class Throttle:
    class Config(ComponentConfig, kw_only=True):
        when: Condition | None = None
        key: list[str] = msgspec.field(default_factory=list)
        rate: Rate
        burst: int = 0
        share: float = 0.5


class Limits(ComponentConfig):
    soft: int
    hard: int = 10


class Demanding:
    class Config(ComponentConfig, kw_only=True):
        limits: list[Limits] = msgspec.field(default_factory=list)
        labels: dict[str, str] = msgspec.field(default_factory=dict)
        pair: tuple[int, str] | None = None
        target: Annotated[str, msgspec.Meta(min_length=2, pattern="^[a-z]+$")] = "ok"
        either: int | list[int] | None = None
        mode: Literal[1, True, "auto"] = "auto"

        def __post_init__(self) -> None:
            if self.labels.get("soft") == self.target:
                raise ValueError(f"labels.soft and target are both {self.target}")


class Elasticsearch:
    class Config(ComponentConfig, kw_only=True):
        hosts: list[str]
        password: Secret | None = None
        timeout: Duration = Duration(30)
        port: int = 9200
        verify: bool = True
        listen: Address | None = None


class Local:
    class Config(ComponentConfig, kw_only=True):
        directory: FilePath


class Console:
    class Config(ComponentConfig):
        pass


class RedactConfig(ComponentConfig, kw_only=True):
    packs: list[str] = msgspec.field(default_factory=lambda: ["secrets", "pii"])
    keys: list[str] = msgspec.field(default_factory=list)
    hash_key: str | None = None


COMPONENTS = {
    "source": {"file": File},
    "frame": {"lines": Lines, "multiline": Multiline},
    "decode": {"json": Json},
    "stage": {"throttle": Throttle, "demanding": Demanding},
    "output": {"elasticsearch": Elasticsearch, "local": Local, "console": Console},
    "redact": {"settings": RedactConfig},
}
VALID = """\
name: shadower
sources:
  - type: file
    include: [/var/log/app/*.log, other/*.log]
    exclude: ["*.gz"]
    frame: {multiline: python}
    ignore_older: 7d
  - type: file
    include: ["${LOGS:-/srv}/**/*.log"]   # a comment
    decode: {type: json, strict: yes-please}
redact:
  packs: [secrets, pii]
  hash_key: ${secret:redact_key}
stages:
  - throttle: {when: {level: [ERROR, CRITICAL]}, key: [service], rate: 100/s, burst: 500}
  - demanding:
      limits:
        - {soft: 1, hard: 2}
        - soft: 3
      labels: {a: b}
route:
  - {when: {any: [{has: duration_ms}, {not: {level: DEBUG}}]}, index: "app-{service}", window: none}
  - {index: app, window: -30d..+1h}
output:
  type: elasticsearch
  hosts: ["http://${HOST:-localhost}:9200"]
  password: ${secret:password}
tests:
  - name: "a price of $5 is a text"
    given: ['{"message": "${UNSET} costs $$ 5"}']
    expect:
      - index: app-2026.02.05
        fields: {message: "${UNSET} costs $$ 5"}
  - {name: dropped, raw: [x], source: 1, expect: [{dropped: throttled}]}
""".replace("yes-please", "true")
SECRETS = {"redact_key": "hunter2-hash", "password": "hunter2-login"}


def find(kind: str, name: str) -> type:
    """The finder of these components."""
    try:
        return COMPONENTS[kind][name]
    except KeyError:
        raise UnknownComponentError(kind, name, sorted(COMPONENTS[kind])) from None


def load(text: str, path: str = "/etc/shipper/p.yaml", env: dict[str, str] | None = None):
    """Load a pipeline of these components, with `SECRETS`."""
    return loading.load(text, path, env or {}, SECRETS.get, find)
