"""The source stdin: its settings, and the pipeline that is built in for `shipper run -`."""

from __future__ import annotations

import pytest

from shipper import assembly
from shipper.config import load
from shipper.model.errors import ConfigError


def test_built_in_pipeline_reads_standard_input_into_files() -> None:
    """Without an Elasticsearch in the environment."""
    pipeline = assembly.read_pipeline("-", {})
    [source] = pipeline.sources
    assert (pipeline.name, source.component.type, source.component.inlet) == ("stdin", "stdin", "pipe")
    assert (source.component.config.spool, source.component.config.when_full) == (256 << 20, "block")
    assert pipeline.output.type == "local"


def test_built_in_pipeline_goes_to_the_elasticsearch_of_the_environment() -> None:
    """As the shipped pipelines do."""
    pipeline = assembly.read_pipeline("-", {"ELASTICSEARCH_HOST": "es.example.com"})
    assert pipeline.output.type == "elasticsearch"
    assert pipeline.output.config.hosts == ["http://es.example.com:9200"]


@pytest.mark.parametrize(
    ("setting", "told"), [("when_full: drop_oldest", "block"), ("spool: 1MiB", "spool"), ("listen: [a]", "listen")]
)
def test_settings_that_stdin_does_not_have_are_refused(setting: str, told: str) -> None:
    """Nothing of standard input is ever dropped, and a spool holds a window at least."""
    text = f"name: app\nsources:\n  - {{type: stdin, {setting}}}\n"
    with pytest.raises(ConfigError) as raised:
        load.load(text, "app.yaml", {}, lambda name: None)
    assert told in str(raised.value) and raised.value.faults[0].place.line == 3
