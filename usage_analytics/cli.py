"""The command line: `usage-analytics --help`."""

import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from usage_analytics.cli_dead_letters import dead_letters_app
from usage_analytics.cli_losses import accept_loss_command, rebuild_offset_records_command
from usage_analytics.cli_options import Windows, chosen_windows
from usage_analytics.cli_query import query_command
from usage_analytics.cli_serving import next_command, plans_app, prewarm_command, serve_command
from usage_analytics.cli_simulate import simulate_command
from usage_analytics.errors import UserError
from usage_analytics.settings import load_settings, usable_home

# Commands are listed in the order in which they are added: those that people need first.
app = typer.Typer(
    help="From a Kafka offset to a recommendation. Settings come from the environment: see 'usage-analytics settings'.",
    no_args_is_help=True, pretty_exceptions_enable=False, rich_markup_mode="rich",
)  # fmt: skip
broker = typer.Typer(
    help="The embedded Kafka-protocol broker, for machines without a cluster. Keeps messages in memory."
)
app.add_typer(broker, name="broker", no_args_is_help=True)
app.add_typer(dead_letters_app, name="dead-letters", no_args_is_help=True)


def main() -> None:
    """Run the command line; a mistake outside the code is one sentence and exit code 2."""
    try:
        app()
    except UserError as error:
        print(f"usage-analytics: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # a folder that cannot be written, a disk that is full
        print(f"usage-analytics: {error.filename or 'operating system'}: {error.strerror or error}", file=sys.stderr)
        sys.exit(2)


@app.command()
def demo(
    messages: Annotated[int, typer.Option(min=1000, help="How many messages the trading day holds.")] = 1_000_000,
    home: Annotated[Path, typer.Option(help="Folder of the demo; emptied first.")] = Path(".usage_analytics_demo"),
) -> None:
    """Run the whole chain on one trading day of messages, and show what came of it.

    Sends the messages of a simulated trading desktop to the embedded broker (or, with KAFKA_BOOTSTRAP_SERVERS set, to a
    new topic of that cluster), lets the graph land, enrich, load and learn, and prints counts at each hop.
    """
    from usage_analytics.reporting.demo import run_demo

    run_demo(home, messages)


@app.command()
def ui(
    port: Annotated[int, typer.Option(min=1, max=65_535, help="Port of the Dagster UI.")] = 3000,
    home: Annotated[Path | None, typer.Option(help="Folder to look at (default: USAGE_ANALYTICS_HOME).")] = None,
) -> None:
    """Open the Dagster UI, with the daemon that runs sensors and schedules."""
    from usage_analytics import parts
    from usage_analytics.orchestration.ui import serve_ui

    if home is not None and not home.is_dir():
        raise UserError(f"--home {home} is not a folder; 'usage-analytics demo --home {home}' would make one")
    settings = load_settings()
    if home is not None:
        settings = replace(settings, home=usable_home(home, "--home"))
    parts.refuse_unless_enrichable(settings)  # rather told now than after messages have landed
    serve_ui(settings.home, port)


@app.command()
def status(
    windows: Annotated[int, typer.Option(min=1, help="How many windows to show.")] = 5,
    everything: Annotated[bool, typer.Option("--all", help="Add the total of all windows; reads all history.")] = False,
) -> None:
    """Show what waits on Kafka, what is in the lake and the warehouse, and whether the counts agree.

    Exit code 1: something is the matter between them, and a sentence says what to do.
    Exit code 2: Kafka or the warehouse cannot be asked.
    A window that does not balance is no such matter until half an hour after its end: it may be loading. Nor is it one
    that Kafka deletes what waits within six hours; within one hour, it is.
    """
    from usage_analytics.reporting.status import print_status

    if not print_status(load_settings(), windows, everything):
        raise typer.Exit(1)


@app.command()
def produce(
    file: Annotated[Path, typer.Argument(help="NDJSON file, or the msnbc file (.zip or .seq).")],
    mapping: Annotated[str, typer.Option(help="Mapping of the messages: 'msnbc' converts the msnbc file; else a "
                                              "shipped mapping or TOML file, to find each message's user.")],
    trading_day: Annotated[str, typer.Option(help="For msnbc: the trading day to place visits in "
                                                  "(default: the latest closed one).")] = "",
    messages: Annotated[int, typer.Option(min=0, max=10**15, help="Send only so many; 0 for all.")] = 0,
    partitions: Annotated[int, typer.Option(min=1, max=10_000,
                                            help="Kafka partitions of the topic, if it must be created.")] = 4,
) -> None:  # fmt: skip
    """Send recorded messages to the Kafka topic, and wait until Kafka has them all.

    Each line of an NDJSON file is a message, as it is. An empty line is an empty message (a tombstone), as 'simulate
    --to' writes them; one empty line at the very end is none.
    """
    from usage_analytics import parts
    from usage_analytics.contract import load_mapping
    from usage_analytics.ingestion.topics import ensure_topic
    from usage_analytics.reporting.terminal import CONSOLE, progress
    from usage_analytics.simulation.msnbc import msnbc_messages
    from usage_analytics.simulation.recorded import ndjson_messages, send

    settings = load_settings()
    if not file.is_file():
        raise UserError(f"{file} is not a file")
    if mapping == "msnbc":
        stream: Iterator[tuple[bytes | None, bytes | None]] = msnbc_messages(
            file, _trading_day(trading_day), settings.calendar
        )
    else:
        stream = ndjson_messages(file, load_mapping(mapping))
    client = parts.kafka_client(settings)
    ensure_topic(client, settings.topic, partitions)
    with progress(f"to Kafka topic {settings.topic}", messages or None) as advance:
        sent = send(client, settings.topic, islice(stream, messages or None), advance)
    CONSOLE.print(f"{sent:,} messages are on Kafka at {client['bootstrap.servers']}, topic {settings.topic}")


app.command("next")(next_command)
app.command("prewarm")(prewarm_command)
app.add_typer(plans_app, name="plans")
app.command("serve")(serve_command)


app.command("simulate")(simulate_command)


app.command("query")(query_command)


@app.command()
def evaluate(
    split_property: Annotated[str | None, typer.Option(help="Hold out instead the events whose whole number under "
                                                       "this property is 4 modulo 5.")] = None,
) -> None:  # fmt: skip
    """Judge the counts of the next-action model alone, made without the held-out users, against its baselines.

    Held out is every fifth user, by pseudonym, as the marts know them: the trading days without marts are left out.
    """
    from usage_analytics import parts
    from usage_analytics.models.branching.training import judge
    from usage_analytics.reporting.model import OWN_FOLDS, print_evaluation
    from usage_analytics.warehouse.transitions import transition_counts, transition_counts_by

    settings = load_settings()
    warehouse = parts.warehouse(settings)
    if split_property is None:
        counts = transition_counts(warehouse)
        evaluation, held_out = judge(counts), OWN_FOLDS
        why = f"the marts in {settings.warehouse} hold too few users; load more events and materialize app_transitions"
        if counts.is_empty():
            why = (
                f"no trading day has marts in {settings.warehouse} yet: once events are loaded, the close of their "
                "trading day makes them, or you do: materialize its marts"
            )
    else:
        if not split_property.isprintable():
            raise UserError(f"--split-property is the name of a property, found {split_property!r}")
        held_out = f"events whose {split_property!r} is 4 modulo 5"
        evaluation = judge(transition_counts_by(warehouse, split_property))
        why = f"too few events carry a whole number under the property {split_property!r}, or none is 4 modulo 5"
    if evaluation is None:
        raise UserError(f"nothing to judge the model by: {why}")
    print_evaluation(evaluation, held_out)


@app.command()
def reconcile(
    window: Windows = None,
    by_minute: Annotated[bool, typer.Option("--minutes", help="Count by minute of arrival instead of hour.")] = False,
    against_kafka: Annotated[bool, typer.Option("--against-kafka", help="Also read the messages again from Kafka, as "
                             "far as it still has them: which does raw lack, or hold otherwise?")] = False,
) -> None:  # fmt: skip
    """Compare every message at every hop: which offsets were lost or doubled, and where; exit code 1 if any.

    Without --window, Kafka is also asked whether it deleted messages before they were landed (exit code 1 too).
    Reads the offsets of all chunks of the windows, so all history may take minutes. While a run is at work, what it has
    landed and not yet loaded shows as lost. Arrival is Kafka's timestamp: by default, the producer's clock.
    """
    from usage_analytics.reporting.reconciliation import (
        print_comparison_with_kafka,
        print_reconciliation,
        print_unlanded_losses,
    )

    settings = load_settings()
    windows = chosen_windows(settings, window)
    agrees = print_reconciliation(settings, windows, by_minute)
    if not windows:
        agrees = print_unlanded_losses(settings) and agrees
    if against_kafka:
        agrees = print_comparison_with_kafka(settings, windows) and agrees
    if not agrees:
        raise typer.Exit(1)


app.command("accept-loss")(accept_loss_command)
app.command("rebuild-offset-records")(rebuild_offset_records_command)


@app.command()
def settings() -> None:
    """List the settings, all environment variables, with what each is now, and whether the pieces in C are in use."""
    from usage_analytics.reporting.settings import print_settings

    print_settings()


@app.command()
def window() -> None:
    """Print the key of the window that is open now: the --partition of a micro-batch."""
    print(load_settings().calendar.window_at(datetime.now(UTC)).key)


@app.command("trading-day")
def trading_day_() -> None:
    """Print the latest closed trading day: the --partition of marts, model and plan."""
    print(_trading_day(""))


@app.command("dagster-home")
def dagster_home_() -> None:
    """Make the Dagster instance of USAGE_ANALYTICS_HOME ready, and print its folder: what DAGSTER_HOME should be."""
    from usage_analytics.orchestration.instance import dagster_home

    print(dagster_home(load_settings().home))


@broker.command("start")
def broker_start(port: Annotated[int, typer.Option(min=0, max=65_535, help="Port; 0 takes a free one.")] = 0) -> None:
    """Start it in the background; it stays until 'broker stop', and forgets its messages then."""
    from usage_analytics.ingestion.embedded_broker import EmbeddedBroker

    started = EmbeddedBroker.start(load_settings().broker_directory, port, detached=True)
    print(f"the embedded broker listens at {started.bootstrap_servers}")


@broker.command("stop")
def broker_stop() -> None:
    """Stop it. Its messages are gone; those already landed stay in the lake."""
    from usage_analytics.ingestion.embedded_broker import EmbeddedBroker

    running = EmbeddedBroker.running(load_settings().broker_directory)
    if running is None:
        raise UserError(f"no embedded broker runs for {load_settings().home}")
    running.stop()
    print("the embedded broker has stopped")


def _trading_day(text: str) -> date:
    calendar = load_settings().calendar
    if not text:
        return calendar.latest_closed_day(datetime.now(UTC))
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise UserError(f"--trading-day is a day such as 2026-11-20, found {text!r}") from None
    if not calendar.is_trading_day(day):
        raise UserError(f"--trading-day {day} is no trading day of {calendar.clock.exchange}")
    return day


if __name__ == "__main__":
    main()
