"""The agent's own file: defaults, settings, and the same refusals as a pipeline's."""

from __future__ import annotations

import pytest

from shipper.config import agent
from shipper.model.errors import ConfigError
from tests.config import fakes


def load(text: str, env: dict[str, str] | None = None) -> agent.AgentSettings:
    """Load settings with the fake components."""
    return agent.load(text, "/etc/shipper/shipper.yaml", env or {}, fakes.SECRETS.get, fakes.find)


@pytest.mark.parametrize("text", ["", "\ufeff", "\n \n", "{}", "# nothing yet\n"])
def test_a_file_that_says_nothing_means_all_defaults(text) -> None:
    """Empty, blank, or an empty mapping."""
    assert agent.AgentSettings() == load(text)


def test_all_settings_are_typed() -> None:
    """Paths count from the file, `control: off` switches it off, the output is a component."""
    found = load(
        "state_dir: state\ncontrol: off\nmemory: ${MEM}\nlog: {level: debug}\noutput: {type: local, directory: o}\n",
        {"MEM": "8MiB"},
    )
    assert ("/etc/shipper/state", None, 8 << 20, "debug") == (found.state_dir, found.control, found.memory, found.log_level)
    assert found.output is not None
    assert "/etc/shipper/o" == found.output.config.directory


def test_the_control_address_has_host_and_port() -> None:
    """The default, and IPv6 in brackets."""
    assert ("127.0.0.1", 9699) == (agent.AgentSettings().control.host, agent.AgentSettings().control.port)
    control = load("control: '[::1]:80'").control
    assert ("::1", 80) == (control.host, control.port)


def test_mistakes_are_said_all_at_once() -> None:
    """With places, allowed values and did-you-mean."""
    with pytest.raises(ConfigError) as caught:
        load("control: 9699\nlog: {level: warn}\nmemroy: 1\noutput: consol\n")
    expected = """\
/etc/shipper/shipper.yaml:1:10: control: expected an address such as 127.0.0.1:9699 or off, got 9699
    control: 9699
             ^^^^
/etc/shipper/shipper.yaml:2:14: log.level: expected one of debug, info, warning, error, got 'warn'
    log: {level: warn}
                 ^^^^
    did you mean `warning`?
/etc/shipper/shipper.yaml:3:1: `memroy` is not known here
    memroy: 1
    ^^^^^^
    did you mean `memory`? allowed: output, state_dir, control, memory, log
/etc/shipper/shipper.yaml:4:9: there is no output 'consol'
    output: consol
            ^^^^^^
    did you mean `console`? allowed: console, elasticsearch, local
4 mistakes in /etc/shipper/shipper.yaml"""
    assert expected == str(caught.value)
