"""The demo: one trading day through the whole chain, and what came of it."""

import os
import shlex
import shutil
import sys
import time
import uuid
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, date, datetime
from pathlib import Path

import polars as pl

from usage_analytics import parts
from usage_analytics.errors import UserError
from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.locks import HOME_LOCK, alone_in
from usage_analytics.reporting.kafka_status import messages_waiting
from usage_analytics.reporting.model import print_evaluation
from usage_analytics.reporting.simulation import shown_progress
from usage_analytics.reporting.status import hop_totals
from usage_analytics.reporting.terminal import CONSOLE, print_table, progress
from usage_analytics.settings import PREFIX, Settings, load_settings, pseudonym_key, usable_home
from usage_analytics.simulation.catalogue import MINI_APPS, PERSONAS
from usage_analytics.simulation.into_kafka import into_kafka
from usage_analytics.simulation.labels import Totals
from usage_analytics.simulation.scenario import EVENTS_PER_USER, Scenario

MARKER = "DEMO"  # the file that says that a folder is a demo's to empty


def run_demo(home: Path, messages: int) -> None:
    """Empty the demo's folder, run one trading day of so many messages through the graph, print the result."""
    started = time.monotonic()
    home = usable_home(home, "--home")
    _refuse_foreign(home)
    with alone_in(home, f"usage-analytics demo (process {os.getpid()})"):
        _empty(home)
        settings = _settings(home)
        pseudonym_key(settings)  # rather refused now than after all messages were sent
        day = settings.calendar.latest_closed_day(datetime.now(UTC))
        with _broker(settings):
            sent = _produce(settings, day, messages)
            CONSOLE.print(
                f"{sent.messages:,} messages: an ordinary day has {messages:,}; some days are busier, and news spikes "
                "come on top"
            )
            _run_graph(settings, day)
            balanced = _print_hops(settings, sent.messages)
        _print_results(settings, day)
    CONSOLE.print(f"\nThat took {time.monotonic() - started:.0f} s. {_where_to_look(settings)}")
    if not balanced:
        raise UserError("the counts at the hops do not agree: see the table above")


def _settings(home: Path) -> Settings:
    os.environ |= {PREFIX + "HOME": str(home), PREFIX + "MAPPING": "usage_event"}
    settings = load_settings()
    if settings.bootstrap_servers is None:
        return settings
    # On a cluster the messages are kept from all others, those of a demo before among them.
    os.environ[PREFIX + "TOPIC"] = f"usage-analytics-demo-{uuid.uuid4().hex[:8]}"
    return load_settings()


def _refuse_foreign(home: Path) -> None:
    held = {path.name for path in home.iterdir()} if home.exists() else set()
    if held - {HOME_LOCK} and MARKER not in held:
        raise UserError(f"{home} holds something that is not a demo's; choose another --home")


def _empty(home: Path) -> None:
    (home / MARKER).touch()
    running = EmbeddedBroker.running(home / "broker")
    if running is not None:
        running.stop()
    for path in home.iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif path.name not in (MARKER, HOME_LOCK):
            path.unlink()


def _broker(settings: Settings) -> AbstractContextManager[object]:
    if settings.bootstrap_servers is None:
        return EmbeddedBroker.start(settings.broker_directory)
    CONSOLE.print(f"Kafka at {settings.bootstrap_servers}, into a new topic, {settings.topic}; delete it when done")
    return nullcontext()


def _where_to_look(settings: Settings) -> str:
    chosen = {"HOME": str(settings.home)}
    if settings.bootstrap_servers is not None:
        chosen["TOPIC"] = settings.topic
    export = " ".join(f"{PREFIX}{name}={shlex.quote(value)}" for name, value in chosen.items())
    command = Path(sys.executable).with_name("usage-analytics")
    if command.is_relative_to(Path.cwd()):
        command = command.relative_to(Path.cwd())
    steps = [f"export {export}", *(f"{command} {what}" for what in ("ui", "next quotes", "evaluate"))]
    return "\n    ".join(["See what came of it:", *steps])


def _produce(settings: Settings, day: date, messages: int) -> Totals:
    exchanges, users = (settings.clock.exchange,), max(1, messages // EVENTS_PER_USER)
    scenario = Scenario((day,), messages_per_day=messages, users=users, exchanges=exchanges)
    apps, personas = len(MINI_APPS), len(PERSONAS)
    CONSOLE.print(
        f"A simulated trading desktop: {apps} mini-apps, {scenario.users:,} users of {personas} personas, {day}"
    )
    sent, _ = into_kafka(settings, scenario, None, shown_progress, processes=os.cpu_count() or 1)
    return sent


def _run_graph(settings: Settings, day: date) -> None:
    from usage_analytics.orchestration.instance import open_instance
    from usage_analytics.orchestration.run_now import close_trading_day, run_micro_batch

    waiting = messages_waiting(settings)
    with open_instance(settings.home) as instance, progress("micro-batches", waiting) as advance:
        while waiting:
            run_micro_batch(settings, instance)
            left = messages_waiting(settings)
            if left >= waiting:
                raise UserError(f"a micro-batch landed nothing although {left:,} messages wait")
            advance(waiting - left)
            waiting = left
    with open_instance(settings.home) as instance, CONSOLE.status(f"closing trading day {day}"):
        close_trading_day(day, instance)


def _print_hops(settings: Settings, produced: int) -> bool:
    total = hop_totals(settings)
    row = (produced, total.raw, total.enriched, total.dead_letters, total.loaded)
    balanced = total.balances and produced == total.raw
    columns = ("produced", "raw", "enriched", "dead letters", "loaded", "balances")
    print_table("Messages at each hop", columns, [(*row, balanced)])
    return balanced


def _first_items(plan: pl.DataFrame, count: int) -> list[tuple[object, ...]]:
    after_one = plan.filter(pl.col("context_order") == 1, pl.col("rank").is_not_null())
    likeliest = after_one.sort("transitions", "context", "rank", descending=[True, False, False]).head(count)
    return likeliest.select("context", "rank", "mini_app", "probability", "value_ms", "transitions").rows()


def _print_results(settings: Settings, day: date) -> None:
    from usage_analytics.models.branching.training import judge_day
    from usage_analytics.warehouse.plans import newest_plan
    from usage_analytics.warehouse.transitions import busiest_transitions

    warehouse = parts.warehouse(settings)
    busiest = busiest_transitions(warehouse, day, 8)
    print_table("Busiest transitions", ("from", "to", "transitions", "seconds between"), busiest.rows())
    with warehouse.session() as session:
        newest = newest_plan(session)
    if newest is not None:
        columns = ("after", "rank", "preload", "probability", "worth, ms", "seen")
        print_table("Preload plan (first contexts, whatever came before)", columns, _first_items(newest[1], 9))
    evaluation = judge_day(warehouse, day)
    if evaluation is not None:
        print_evaluation(evaluation)
        CONSOLE.print(
            "The calibration error is how far the probability of the first guess lies from how often it came true.\n"
            "A demo sees most contexts of three mini-apps too seldom: what followed one most often by chance is\n"
            "promised too often. More messages narrow it."
        )
