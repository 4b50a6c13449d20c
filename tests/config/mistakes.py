"""Every mistake a pipeline can hold, by name: the text, and the refusal word for word (file `p.yaml`, fake components)."""

from __future__ import annotations

MINIMAL = "name: app\nsources:\n  - {type: file, include: [/a]}\n"


def stage(settings: str) -> str:
    """A pipeline with one demanding stage."""
    return f"{MINIMAL}stages:\n  - demanding: {settings}\n"


def output(settings: str) -> str:
    """A pipeline with an Elasticsearch output."""
    return f"{MINIMAL}output: {{type: elasticsearch, {settings}}}\n"


WRONG = {
    "unknown key at the top": (
        MINIMAL + "outputs: console\n",
        """\
p.yaml:4:1: `outputs` is not known here
    outputs: console
    ^^^^^^^
    did you mean `output`? allowed: sources, redact, stages, route, output, tests, name, id, timestamp, ecs, max_record""",
    ),
    "a key of the agent": (
        MINIMAL + "state_dir: /x\n",
        """\
p.yaml:4:1: `state_dir` is a setting of the agent
    state_dir: /x
    ^^^^^^^^^
    it belongs in shipper.yaml""",
    ),
    "nothing but a key": (
        "x: 1\n",
        """\
p.yaml:1:1: `x` is not known here
    x: 1
    ^
    allowed: sources, redact, stages, route, output, tests, name, id, timestamp, ecs, max_record
p.yaml:1:1: `name` is missing
    x: 1
    ^
    it is a name of lowercase letters, digits, - and _, at most 63, the first a letter or digit
p.yaml:1:1: `sources` is missing
    x: 1
    ^
    a pipeline reads from at least one""",
    ),
    "a name that is none": (
        MINIMAL.replace("name: app", "name: My App"),
        """\
p.yaml:1:7: name: expected a name of lowercase letters, digits, - and _, at most 63, the first a letter or digit, got 'My App'
    name: My App
          ^^^^^^""",
    ),
    "a bad choice at the top": (
        MINIMAL + "id: contents\n",
        """\
p.yaml:4:5: id: expected one of origin, content, got 'contents'
    id: contents
        ^^^^^^^^
    did you mean `content`?""",
    ),
    "no sources": (
        "name: app\nsources: []\n",
        """\
p.yaml:2:10: sources: expected a list of at least one, got a list
    sources: []
             ^^""",
    ),
    "sources that are a mapping": (
        "name: app\nsources: {type: file}\n",
        """\
p.yaml:2:10: sources: expected a list of at least one, got a mapping
    sources: {type: file}
             ^^^^^^^^^^^^""",
    ),
    "a source that is a word": (
        "name: app\nsources: [file]\n",
        """\
p.yaml:2:11: sources: expected a mapping such as {type: file, include: [...]}, got 'file'
    sources: [file]
              ^^^^""",
    ),
    "a source without type": (
        "name: app\nsources:\n  - include: [/a]\n",
        """\
p.yaml:3:5: the `type` of this source is missing
      - include: [/a]
        ^^^^^^^
    such as `type: file`""",
    ),
    "an unknown source": (
        "name: app\nsources:\n  - {type: fiel, include: [/a]}\n",
        """\
p.yaml:3:12: there is no source 'fiel'
      - {type: fiel, include: [/a]}
               ^^^^
    did you mean `file`? allowed: file""",
    ),
    "an unknown frame with settings": (
        MINIMAL.replace("[/a]", "[/a], frame: {multline: python}"),
        """\
p.yaml:3:41: there is no frame 'multline'
      - {type: file, include: [/a], frame: {multline: python}}
                                            ^^^^^^^^
    did you mean `multiline`? allowed: lines, multiline""",
    ),
    "a frame that is a number": (
        MINIMAL.replace("[/a]", "[/a], frame: 5"),
        """\
p.yaml:3:40: frame: expected the name of a frame, alone or with its settings, got 5
      - {type: file, include: [/a], frame: 5}
                                           ^""",
    ),
    "a component of two names": (
        MINIMAL + "stages:\n  - throttle: {rate: 1/s}\n    demanding: {}\n",
        """\
p.yaml:5:5: stage: expected the name of a stage, alone or with its settings, got a mapping
      - throttle: {rate: 1/s}
        ^^^^^^^^
    one component an item, each with a dash of its own""",
    ),
    "settings not indented": (
        MINIMAL + "stages:\n  - throttle:\n    rate: 1/s\n",
        """\
p.yaml:5:5: stage: expected the name of a stage, alone or with its settings, got a mapping
      - throttle:
        ^^^^^^^^
    indent the settings of `throttle` further than its name""",
    ),
    "no settings where some are needed": (
        MINIMAL + "stages: [throttle]\n",
        """\
p.yaml:4:10: `rate` is missing
    stages: [throttle]
             ^^^^^^^^
    it is a rate such as 100/s, 20/m or 1MiB/s""",
    ),
    "settings where there are none": (
        MINIMAL + "output: {console: loud}\n",
        """\
p.yaml:4:19: console: expected no settings, got 'loud'
    output: {console: loud}
                      ^^^^""",
    ),
    "an unknown setting": (
        output("host: [x]"),
        """\
p.yaml:4:16: `hosts` is missing
    output: {type: elasticsearch, host: [x]}
                   ^^^^^^^^^^^^^
    it is a list
p.yaml:4:31: `host` is not known here
    output: {type: elasticsearch, host: [x]}
                                  ^^^^
    did you mean `hosts`? allowed: type, hosts, password, timeout, port, verify, listen""",
    ),
    "a word for a list": (
        output("hosts: http://x"),
        """\
p.yaml:4:38: hosts: expected a list, got 'http://x'
    output: {type: elasticsearch, hosts: http://x}
                                         ^^^^^^^^
    write it as a list: [http://x]""",
    ),
    "a number for a text, in a list": (
        output("hosts: [x, 1.10]"),
        """\
p.yaml:4:42: hosts: expected a text, got 1.1
    output: {type: elasticsearch, hosts: [x, 1.10]}
                                             ^^^^
    put it in quotes: "1.10\"""",
    ),
    "nothing for a list": (
        MINIMAL + "timestamp:\n",
        """\
p.yaml:4:1: timestamp: expected a list or a mapping, got nothing
    timestamp:
    ^^^^^^^^^""",
    ),
    "times that nobody writes": (
        MINIMAL + "timestamp: {layouts: ['%Y-%m-%d %Q', iso8061], zone: Europe/Berln, fold: frist}\n",
        """\
p.yaml:4:23: timestamp.layouts: `%Q` is not known in a layout; known are %A, %B, %D, %F, %H, %I, %M, %R, %S, %T, %Y, %Z, %a, %b, %d, %e, %f, %h, %j, %m, %p, %y, %z
    timestamp: {layouts: ['%Y-%m-%d %Q', iso8061], zone: Europe/Berln, fold: ...
                          ^^^^^^^^^^^^^
p.yaml:4:38: timestamp.layouts: expected a layout such as `%Y-%m-%d %H:%M:%S`, iso8601, unix, unix_ms, unix_us or unix_ns, got 'iso8061'; did you mean `iso8601`?
    timestamp: {layouts: ['%Y-%m-%d %Q', iso8061], zone: Europe/Berln, fold: ...
                                         ^^^^^^^
p.yaml:4:54: timestamp.zone: expected a time zone such as UTC or Europe/Berlin, got 'Europe/Berln'; did you mean `Europe/Berlin`?
    ...estamp: {layouts: ['%Y-%m-%d %Q', iso8061], zone: Europe/Berln, fold: ...
                                                         ^^^^^^^^^^^^
p.yaml:4:74: timestamp.fold: expected one of auto, first, second, got 'frist'
    ...%Y-%m-%d %Q', iso8061], zone: Europe/Berln, fold: frist}
                                                         ^^^^^
    did you mean `first`?""",
    ),
    "numbers that are none": (
        output("hosts: [x], port: '9200', timeout: 30, verify: no"),
        """\
p.yaml:4:49: port: expected a whole number, got '9200'
    output: {type: elasticsearch, hosts: [x], port: '9200', timeout: 30, veri...
                                                    ^^^^^^
    leave the quotes out: 9200
p.yaml:4:66: timeout: expected a duration such as 250ms, 5s, 10m, 2h or 7d, got 30
    ...elasticsearch, hosts: [x], port: '9200', timeout: 30, verify: no}
                                                         ^^
    add the unit: 30s
p.yaml:4:78: verify: expected true or false, got 'no'
    ...h, hosts: [x], port: '9200', timeout: 30, verify: no}
                                                         ^^
    write true or false""",
    ),
    "a wrong address": (
        output("hosts: [x], listen: localhost"),
        """\
p.yaml:4:51: listen: expected an address such as 127.0.0.1:9699, got 'localhost'
    output: {type: elasticsearch, hosts: [x], listen: localhost}
                                                      ^^^^^^^^^""",
    ),
    "a wrong size": (
        MINIMAL.replace("[/a]", "[/a], max_line: 10m"),
        """\
p.yaml:3:43: max_line: expected a size such as 512, 64KiB, 10MiB or 1GB, got '10m'
      - {type: file, include: [/a], max_line: 10m}
                                              ^^^
    add the unit in full: 10MiB""",
    ),
    "a negative duration": (
        MINIMAL.replace("[/a]", "[/a], ignore_older: -5s"),
        """\
p.yaml:3:47: ignore_older: expected a duration such as 250ms, 5s, 10m, 2h or 7d, got '-5s'
      - {type: file, include: [/a], ignore_older: -5s}
                                                  ^^^""",
    ),
    "a home directory": (
        MINIMAL.replace("/a", "~/a"),
        """\
p.yaml:3:28: include: expected a path, got '~/a'
      - {type: file, include: [~/a]}
                               ^^^
    ~ is not replaced; write ${HOME}""",
    ),
    "mistakes in nested settings": (
        stage("{limits: [{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a: 1, b: [c]}}"),
        """\
p.yaml:5:33: limits.soft: expected a whole number, got 'x'
      - demanding: {limits: [{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a:...
                                    ^
p.yaml:5:42: limits.hard: expected a whole number, got 1.5
      - demanding: {limits: [{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a:...
                                             ^^^
p.yaml:5:48: `limits.soft` is missing
      - demanding: {limits: [{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a:...
                                                   ^^^^^^^^^
    it is a whole number
p.yaml:5:49: `limits.sofd` is not known here
      - demanding: {limits: [{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a:...
                                                    ^^^^
    did you mean `soft`? allowed: soft, hard
p.yaml:5:59: limits: expected a mapping with soft, hard, got 7
    ...nding: {limits: [{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a: 1, b...
                                                         ^
p.yaml:5:75: labels.a: expected a text, got 1
    ...[{soft: x, hard: 1.5}, {sofd: 1}, 7], labels: {a: 1, b: [c]}}
                                                         ^
    put it in quotes: "1"
p.yaml:5:81: labels.b: expected a text, got a list
    ...: x, hard: 1.5}, {sofd: 1}, 7], labels: {a: 1, b: [c]}}
                                                         ^^^""",
    ),
    "a tuple too short, a choice too many, a text out of bounds": (
        stage("{pair: [1], mode: 2, target: X, either: x}"),
        """\
p.yaml:5:23: pair: expected a list of 2 values, got a list
      - demanding: {pair: [1], mode: 2, target: X, either: x}
                          ^^^
p.yaml:5:34: mode: expected one of 1, true, auto, got 2
      - demanding: {pair: [1], mode: 2, target: X, either: x}
                                     ^
p.yaml:5:45: target: expected at least 2 characters, got 'X'
      - demanding: {pair: [1], mode: 2, target: X, either: x}
                                                ^
p.yaml:5:56: either: expected a whole number, got 'x'
      - demanding: {pair: [1], mode: 2, target: X, either: x}
                                                           ^""",
    ),
    "a bound and a pattern": (
        stage("{target: ok1}").replace("[/a]", "[/a], frame: {multiline: {preset: java, lines_max: 0}}"),
        """\
p.yaml:3:78: lines_max: expected at least 1, got 0
    .../a], frame: {multiline: {preset: java, lines_max: 0}}}
                                                         ^
p.yaml:5:25: target: expected a text that matches ^[a-z]+$, got 'ok1'
      - demanding: {target: ok1}
                            ^^^""",
    ),
    "settings that do not go together": (
        stage("{target: ab, labels: {soft: ab}}"),
        """\
p.yaml:5:5: labels.soft and target are both ab
      - demanding: {target: ab, labels: {soft: ab}}
        ^^^^^^^^^""",
    ),
    "conditions": (
        MINIMAL
        + "stages:\n  - throttle: {rate: 1/s, when: {hass: x, any: {}, a: {b: c}, not: [], all: [{has: 5}, {}], no: {x: y}}}\n",
        """\
p.yaml:5:34: when: `hass` is no field and no keyword
      - throttle: {rate: 1/s, when: {hass: x, any: {}, a: {b: c}, not: [], al...
                                     ^^^^
    did you mean `has`?
p.yaml:5:48: when: any: expected a list of conditions, got a mapping
      - throttle: {rate: 1/s, when: {hass: x, any: {}, a: {b: c}, not: [], al...
                                                   ^^
p.yaml:5:56: when: a: `b` is no operator
    ...hrottle: {rate: 1/s, when: {hass: x, any: {}, a: {b: c}, not: [], all:...
                                                         ^
    allowed: gt, gte, lt, lte, glob, prefix, suffix, contains, regex, cidr; for a field in an object write `a.b`
p.yaml:5:68: when: expected a condition such as {level: [ERROR, CRITICAL]} or {has: duration_ms}, got a list
    ...te: 1/s, when: {hass: x, any: {}, a: {b: c}, not: [], all: [{has: 5}, ...
                                                         ^^
p.yaml:5:84: when: has: expected a field name or a list of them, got 5
    ...hass: x, any: {}, a: {b: c}, not: [], all: [{has: 5}, {}], no: {x: y}}}
                                                         ^
p.yaml:5:88: when: expected a condition such as {level: [ERROR, CRITICAL]} or {has: duration_ms}, got a mapping
    ...: x, any: {}, a: {b: c}, not: [], all: [{has: 5}, {}], no: {x: y}}}
                                                         ^^
p.yaml:5:98: when: no: `x` is no operator
    ...{}, a: {b: c}, not: [], all: [{has: 5}, {}], no: {x: y}}}
                                                         ^
    did you mean `not`?""",
    ),
    "operators": (
        MINIMAL
        + """\
route:
  - index: app-a
    when:
      duration_ms: {gte: "500", lt: soon, grt: 5}
      url.path: {glob: [/api/*, 5, "[z-a]"], startswith: /api}
      message: {regex: ["^GET (", "(?=x)"], prefix: ""}
      client_ip: {cidr: [10.0.0.0/8, 10.1.2.3/8, localhost]}
      level: {gte: wraning}
  - index: app
""",
        """\
p.yaml:7:26: route.when: duration_ms: gte: expected a number, got '500'
          duration_ms: {gte: "500", lt: soon, grt: 5}
                             ^^^^^
    leave the quotes out: 500
p.yaml:7:37: route.when: duration_ms: lt: expected a number, got 'soon'
          duration_ms: {gte: "500", lt: soon, grt: 5}
                                        ^^^^
p.yaml:7:43: route.when: duration_ms: `grt` is no operator
          duration_ms: {gte: "500", lt: soon, grt: 5}
                                              ^^^
    did you mean `gt`? allowed: gt, gte, lt, lte, glob, prefix, suffix, contains, regex, cidr
p.yaml:8:33: route.when: url.path: glob: expected a glob or a list of them, got 5
          url.path: {glob: [/api/*, 5, "[z-a]"], startswith: /api}
                                    ^
    put it in quotes: "5"
p.yaml:8:36: route.when: url.path: glob: '[z-a]' is no glob
          url.path: {glob: [/api/*, 5, "[z-a]"], startswith: /api}
                                       ^^^^^^^
    a range goes up, [a-z]; [[] stands for the bracket itself
p.yaml:8:46: route.when: url.path: `startswith` is no operator
          url.path: {glob: [/api/*, 5, "[z-a]"], startswith: /api}
                                                 ^^^^^^^^^^
    did you mean `prefix`?
p.yaml:9:25: route.when: message: regex: the pattern cannot be used: missing ), at '^GET ('
          message: {regex: ["^GET (", "(?=x)"], prefix: ""}
                            ^^^^^^^^
    patterns are RE2: no look-around, no backreferences
p.yaml:9:35: route.when: message: regex: the pattern cannot be used: invalid perl operator, at '(?='
          message: {regex: ["^GET (", "(?=x)"], prefix: ""}
                                      ^^^^^^^
    patterns are RE2: no look-around, no backreferences
p.yaml:9:53: route.when: message: prefix: expected a text or a list of them, got an empty text
          message: {regex: ["^GET (", "(?=x)"], prefix: ""}
                                                        ^^
p.yaml:10:38: route.when: client_ip: cidr: expected a network such as 10.0.0.0/8 or fc00::/7, got '10.1.2.3/8'
          client_ip: {cidr: [10.0.0.0/8, 10.1.2.3/8, localhost]}
                                         ^^^^^^^^^^
    did you mean 10.0.0.0/8?
p.yaml:10:50: route.when: client_ip: cidr: expected a network such as 10.0.0.0/8 or fc00::/7, got 'localhost'
          client_ip: {cidr: [10.0.0.0/8, 10.1.2.3/8, localhost]}
                                                     ^^^^^^^^^
p.yaml:11:20: route.when: level: gte: expected a number or the name of a level, got 'wraning'
          level: {gte: wraning}
                       ^^^^^^^
    did you mean `warning`? allowed: trace, debug, info, notice, warning, error, critical, alert, emergency""",
    ),
    "routes": (
        MINIMAL + "route:\n  - {index: Errors}\n  - {index: app, window: -1d}\n  - {when: {a: b}, indx: app}\n",
        """\
p.yaml:5:13: route.index: 'Errors' cannot be an index: it must be lowercase
      - {index: Errors}
                ^^^^^^
p.yaml:6:5: this route is never reached
      - {index: app, window: -1d}
        ^^^^^^^^^^^^^^^^^^^^^^^^^
    the route in line 5 has no `when` and takes everything
p.yaml:6:26: route.window: expected a window such as -400d..+1d or none, got '-1d'
      - {index: app, window: -1d}
                             ^^^
p.yaml:7:5: this route is never reached
      - {when: {a: b}, indx: app}
        ^^^^^^^^^^^^^^^^^^^^^^^^^
    the route in line 5 has no `when` and takes everything
p.yaml:7:5: `route.index` is missing
      - {when: {a: b}, indx: app}
        ^^^^^^^^^^^^^^^^^^^^^^^^^
    it is the name of an index such as app or app-{service}
p.yaml:7:20: `route.indx` is not known here
      - {when: {a: b}, indx: app}
                       ^^^^
    did you mean `index`? allowed: index, when, window""",
    ),
    "no route for the rest": (
        MINIMAL + "route:\n  - {when: {level: ERROR}, index: errors}\n",
        """\
p.yaml:5:5: a record that matches no route would have nowhere to go
      - {when: {level: ERROR}, index: errors}
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
    add a last route without `when`, such as - {index: app}""",
    ),
    "tests": (
        MINIMAL
        + "tests:\n  - {name: a, expect: [{index: x}]}\n  - {name: b, given: [x], source: 1, expect: [{}, {index: x, dropped: y}]}\n",
        """\
p.yaml:5:5: test 'a': expected one of `given` and `raw`
      - {name: a, expect: [{index: x}]}
        ^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^^
p.yaml:6:35: test 'b': there is no source 1
      - {name: b, given: [x], source: 1, expect: [{}, {index: x, dropped: y}]}
                                      ^
    sources are counted from 0 to 0
p.yaml:6:47: test 'b': an expectation has `index`, `fields` or `dropped`
      - {name: b, given: [x], source: 1, expect: [{}, {index: x, dropped: y}]}
                                                  ^^
p.yaml:6:51: test 'b': what is dropped has neither `index` nor `fields`
      - {name: b, given: [x], source: 1, expect: [{}, {index: x, dropped: y}]}
                                                      ^^^^^^^^^^^^^^^^^^^^^^""",
    ),
    "redaction that is switched off": (
        MINIMAL + "redact: off\n",
        """\
p.yaml:4:9: redact: expected a mapping with its settings, got 'off'
    redact: off
            ^^^""",
    ),
    "variables": (
        output('hosts: ["http://${HOST}:${PORT", "${host:x}"], password: "${secret:pass}"'),
        """\
p.yaml:4:47: the environment variable HOST is not set
    output: {type: elasticsearch, hosts: ["http://${HOST}:${PORT", "${host:x}...
                                                  ^^^^^^^
    set it, or give a default: ${HOST:-...}
p.yaml:4:55: this ${ is never closed
    ...ut: {type: elasticsearch, hosts: ["http://${HOST}:${PORT", "${host:x}"...
                                                         ^^^^^^
    write $${ for the characters themselves
p.yaml:4:65: '${host:x}' names no variable
    ... elasticsearch, hosts: ["http://${HOST}:${PORT", "${host:x}"], passwor...
                                                         ^^^^^^^^^
    write ${NAME}, ${NAME:-default} or ${secret:NAME}; $${ stands for the characters themselves
p.yaml:4:89: there is no secret pass
    ..."http://${HOST}:${PORT", "${host:x}"], password: "${secret:pass}"}
                                                         ^^^^^^^^^^^^^^""",
    ),
    "broken YAML": (
        MINIMAL + "output: {type: elasticsearch, hosts: [${HOST}]}\n",
        """\
p.yaml:4:40: expected , or ]
    output: {type: elasticsearch, hosts: [${HOST}]}
                                           ^
    a value with one of { } [ ] , inside of { } or [ ] needs quotes""",
    ),
    "a key written twice, and a tag": (
        MINIMAL + "name: !!str b\nid: !x origin\n",
        """\
p.yaml:4:1: `name` is here twice
    name: !!str b
    ^^^^
    the first one is in line 1
p.yaml:5:5: the tag !x is not supported
    id: !x origin
        ^^^^^^^^^
    leave the tag out; quotes make a value text""",
    ),
}
