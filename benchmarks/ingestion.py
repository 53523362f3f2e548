"""What it costs to bring messages from Kafka to columns on disk: the platform hop by hop, and beside its peers.

    make bench-ingestion                                     # 30 million messages, all peers; about half an hour
    .venv/bin/python benchmarks/ingestion.py --messages 3000000

A simulated trading desktop sends its messages to an embedded broker on the same machine. Each hop goes over all of
them, in a process of its own; whole processes are measured, with their start (about 2 CPU seconds, mostly imports):

  consume   messages out of Kafka as Arrow columns, dropped; and consume_in_python, without the piece in C
  land      the same, into raw chunks on disk, committed
  enrich    raw chunks to usage events and dead letters on disk, as after a changed mapping
  load      usage events into DuckDB
  ingest    land, and enrich on the way, as a micro-batch does

With --peers, programs of benchmarks/peers/ read the same messages from the same broker; slow ones read a topic with
fewer, and stand beside the platform's ingest of just these, in the same run. A peer does less: it writes events as
columns (Pathway as JSON lines), but keeps no raw copy, no dead letters, no pseudonyms and no offsets.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

from full_days import full_days
from whole_process import Cost, cost_of

from usage_analytics.ingestion.embedded_broker import EmbeddedBroker
from usage_analytics.ingestion.topics import create_topic
from usage_analytics.settings import PREFIX, load_settings
from usage_analytics.simulation.run import simulate
from usage_analytics.simulation.scenario import Scenario
from usage_analytics.simulation.targets import KafkaTarget

HERE = Path(__file__).parent
TOPICS = {"whole": "usage-messages", "part": "usage-messages-part"}
HOPS = ("consume", "consume_in_python", "land", "enrich", "load", "ingest")
PEERS = {  # and the topic each reads: of the whole one the slow would take hours
    "plain_loop": "whole",
    "quixstreams_sink": "part",
    "bytewax_flow": "part",
    "pathway_table": "part",
    "mq_bridge_route": "whole",
    "spark_stream": "whole",
}


def main() -> None:
    """Send the messages, run the hops and the peers, print their figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--messages", type=int, default=26_200_000, help="of an ordinary day; some more are sent")
    parser.add_argument("--part", type=int, default=2_600_000, help="the same for peers that are slow")
    parser.add_argument("--partitions", type=int, default=8)
    parser.add_argument("--peers", type=Path, help="Python that has the packages of benchmarks/peers/requirements.txt")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ |= {PREFIX + "HOME": home, PREFIX + "MAX_MESSAGES_PER_RUN": str(10**9)}
        os.environ.pop("KAFKA_BOOTSTRAP_SERVERS", None)  # the hops read from the broker that is started here
        with EmbeddedBroker.start(load_settings().broker_directory) as broker:
            whole = send(broker.bootstrap_servers, TOPICS["whole"], chosen.messages, chosen.partitions)
            print(HEADING.format("hop", ""))
            costs = {hop: measured(hop, TOPICS["whole"], whole) for hop in HOPS}
            if chosen.peers is not None:
                part = send(broker.bootstrap_servers, TOPICS["part"], chosen.part, chosen.partitions)
                sent = {"whole": whole, "part": part}
                ours = {"whole": costs["ingest"], "part": measured("ingest", TOPICS["part"], part)}
                beside_peers(chosen.peers, broker.bootstrap_servers, sent, ours, Path(home))


HEADING = f"{{:<18}}{'messages':>12}{'CPU s/million':>15}{'messages/s':>12}{'peak MB':>9}{{}}"


def send(servers: str, topic: str, messages: int, partitions: int) -> int:
    """Send a simulated day into a topic of its own; how many messages it has."""
    client = {"bootstrap.servers": servers}
    create_topic(client, topic, partitions)
    [day] = full_days(load_settings(), 1)
    scenario = Scenario((day,), messages_per_day=messages, users=max(1, messages // 50), lanes=partitions)
    sent = simulate(scenario, KafkaTarget(client, topic), None, processes=2)
    size = sent.bytes / sent.messages
    print(
        f"\n{sent.messages:,} messages of {size:.0f} bytes, {partitions} Kafka partitions, topic {topic}\n", flush=True
    )
    return sent.messages


def measured(hop: str, topic: str, messages: int) -> Cost:
    """Run a hop over a topic, and print its line."""
    os.environ[PREFIX + "TOPIC"] = topic
    if hop in ("land", "ingest"):  # all messages wait once more
        shutil.rmtree(load_settings().lake, ignore_errors=True)
    cost = cost_of([sys.executable, str(HERE / "ingestion_hops.py"), hop])
    if cost.said["read"] != messages:
        sys.exit(f"{hop}: {cost.said['read']:,} of {messages:,} messages")
    print(line(hop, messages, messages, cost), flush=True)
    return cost


def beside_peers(python: Path, servers: str, sent: dict[str, int], ours: dict[str, Cost], home: Path) -> None:
    """Run the peers, and print for each how many times the platform's CPU seconds it took."""
    print("\n" + HEADING.format("peer", f"{'written':>12}{'times ours':>12}"))
    for peer, which in PEERS.items():
        folder, messages = home / peer, sent[which]
        cost = cost_of(
            [str(python), str(HERE / f"peers/{peer}.py"), servers, TOPICS[which], str(messages), str(folder)]
        )
        shutil.rmtree(folder, ignore_errors=True)
        times = cost.cpu_s / ours[which].cpu_s
        print(line(peer, cost.said["read"], messages, cost) + f"{cost.said['written']:>12,}{times:>12.1f}", flush=True)


def line(name: str, read: int | None, sent: int, cost: Cost) -> str:
    """The figures of one; those who do not tell what they read are taken to have read all that was sent."""
    messages = sent if read is None else read
    each, told = cost.cpu_s / messages * 1e6, "-" if read is None else f"{read:,}"
    return f"{name:<18}{told:>12}{each:>15.2f}{messages / cost.wall_s:>12,.0f}{cost.peak_mb:>9.0f}"


if __name__ == "__main__":
    main()
