"""The whole msnbc day through Kafka into the warehouse, and the model on the reference split."""

from datetime import date
from pathlib import Path

import pytest

from usage_analytics import parts
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.topics import ensure_topic
from usage_analytics.models.branching.training import judge
from usage_analytics.reporting.kafka_status import messages_waiting
from usage_analytics.reporting.status import hop_totals
from usage_analytics.settings import load_settings
from usage_analytics.simulation.msnbc import msnbc_messages
from usage_analytics.simulation.recorded import send
from usage_analytics.warehouse.transitions import transition_counts_by
from usage_analytics_tests.integration.platform_under_test import clean_environment, micro_batch, open_window

MSNBC = Path(__file__).parents[3] / "shared/data/msnbc/msnbc990928.zip"
VISITS = 4_698_794


@pytest.mark.slow
@pytest.mark.skipif(not MSNBC.is_file(), reason=f"the msnbc file is not at {MSNBC}")
def test_all_msnbc_visits_arrive_and_the_model_reaches_the_reference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean_environment(monkeypatch, tmp_path / "home")
    settings = load_settings()
    with EmbeddedBroker.start(settings.broker_directory):
        client = parts.kafka_client(settings)
        ensure_topic(client, settings.topic, 4)
        sent = send(client, settings.topic, msnbc_messages(MSNBC, date(2026, 11, 20), settings.calendar))
        window = open_window(settings)
        while messages_waiting(settings):
            assert micro_batch(settings, window).success
    total = hop_totals(settings)
    assert (sent, total.raw, total.enriched, total.loaded) == (VISITS,) * 4
    assert total.balances
    evaluation = judge(transition_counts_by(parts.warehouse(settings), "sequence"))
    assert evaluation is not None
    assert evaluation.recall_at_1 >= 0.66
    assert evaluation.recall_at_3 >= 0.83
    assert evaluation.log_loss < evaluation.baselines["order_1_markov"].log_loss
