"""What a look-up in the preload plan takes, single and in batch; how long a plan takes to open, how large its file is.

A plan of the given size is made up and published into a temporary folder; opening includes the check of all its bytes,
which are in memory by then. Three look-ups in four name a user that the plan knows, contexts are of the last three
mini-apps; with an entity in hand, the plan knows it. Single ones are measured one by one, the batch by its CPU time, on
one core, under the plan's own budget, which binds at times, and under one of bytes that never does.
"""

import argparse
import os
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from plan_tables import Size, entity_names, made_up_tables

from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.preload_plan import PreloadPlan

OPENINGS, ROUNDS = 20, 5
BEFORE_OPEN = datetime(2026, 11, 24, 14, 20, tzinfo=UTC)  # a phase and a price hold


def main() -> None:
    sizes = Size()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mini-apps", type=int, default=sizes.mini_apps, help="(default: %(default)s)")
    parser.add_argument("--contexts", type=int, default=sizes.contexts, help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=sizes.users, help="(default: %(default)s)")
    parser.add_argument("--entities", type=int, default=sizes.entities, help="(default: %(default)s)")
    parser.add_argument("--classes", type=int, default=sizes.classes, help="of users (default: %(default)s)")
    parser.add_argument("--single", type=int, default=100_000, help="look-ups one by one (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1_000_000, help="look-ups at once (default: %(default)s)")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    size = replace(
        sizes, mini_apps=chosen.mini_apps, contexts=chosen.contexts, users=chosen.users, classes=chosen.classes,
        entities=chosen.entities,
    )  # fmt: skip
    tables = made_up_tables(size)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{PlanFolder(Path(folder)).publish(tables).name}.plan"
        counts = (
            f"{chosen.mini_apps:,} mini-apps, {len(tables.context_keys):,} contexts, {chosen.users:,} users of "
            f"{chosen.classes - 1} classes, {chosen.entities:,} entities"
        )
        print(f"{counts}: {path.stat().st_size / 1e6:.1f} MB")
        print_opening(path)
        plan = PreloadPlan.open(path)
        for names in ([], entity_names(chosen.entities)):
            print("with an entity in hand" if names else "with nothing in hand")
            print_single(plan, names, chosen.single)
            print_batch(plan, names, chosen.batch)
        print_prewarms(plan, chosen.single // 10)


def print_opening(path: Path) -> None:
    took = []
    for _ in range(OPENINGS):
        begin = time.perf_counter()
        PreloadPlan.open(path).next(None, ())
        took.append(time.perf_counter() - begin)
    print(f"opened and asked once: {np.median(took) * 1e3:.1f} ms, at most {max(took) * 1e3:.1f}")


def print_single(plan: PreloadPlan, names: list[str], count: int) -> None:
    draw = np.random.default_rng(2)
    apps, keys = plan.tables.mini_apps, plan.tables.user_keys
    contexts = [tuple(apps[place] for place in row) for row in draw.integers(0, len(apps), (count, 3)).tolist()]
    known = [f"{key:016x}{0:016x}" for key in keys[draw.integers(0, len(keys), count)].tolist()]
    users = [user if number % 4 else None for number, user in enumerate(known)]
    in_hand: list[str | None] = (
        [names[at] for at in draw.integers(0, len(names), count).tolist()] if names else [None] * count
    )
    took, cpu = np.empty(count), np.empty(count)
    items = 0
    for number, (user, context, entity) in enumerate(zip(users, contexts, in_hand, strict=True)):
        cpu_begin, begin = time.thread_time_ns(), time.perf_counter_ns()
        answer = plan.next(user, context, at=BEFORE_OPEN, entity=entity)
        took[number], cpu[number] = time.perf_counter_ns() - begin, time.thread_time_ns() - cpu_begin
        items += len(answer.items)
    print(f"  single look-ups, {items / count:.2f} items each")
    print_times(took, cpu)


def print_prewarms(plan: PreloadPlan, count: int) -> None:
    draw = np.random.default_rng(4)
    keys = plan.tables.user_keys
    users = [f"{key:016x}{0:016x}" for key in keys[draw.integers(0, len(keys), count)].tolist()]
    took, cpu = np.empty(count), np.empty(count)
    items = 0
    for number, user in enumerate(users):
        cpu_begin, begin = time.thread_time_ns(), time.perf_counter_ns()
        answer = plan.prewarm(user, BEFORE_OPEN)
        took[number], cpu[number] = time.perf_counter_ns() - begin, time.thread_time_ns() - cpu_begin
        items += len(answer.items)
    print(f"what to fetch ahead, {items / count:.2f} items each")
    print_times(took, cpu)


def print_times(took: np.ndarray, cpu: np.ndarray) -> None:
    for what, times in (("clock", took), ("CPU", cpu)):  # where others use the core, the clock runs on meanwhile
        p50, p99, p999 = np.percentile(times / 1e3, [50, 99, 99.9])
        print(f"    microseconds by the {what}: p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p999:.1f}")


def print_batch(plan: PreloadPlan, names: list[str], count: int) -> None:
    draw = np.random.default_rng(3)
    keys = plan.tables.user_keys
    users = keys[draw.integers(0, len(keys), count)]
    users[::4] = 0
    contexts = draw.integers(1, len(plan.tables.mini_apps) + 1, (count, 3))
    entities = plan.tables.entity_keys[draw.integers(0, len(names), count)] if names else None
    own = plan.tables.facts.budget
    plan.next_many(users[:1], contexts[:1])  # makes the batch's own tables
    for what, budget in (("the plan's own budget", own), ("room for all", replace(own, bytes=1e15))):
        took = []
        for _ in range(ROUNDS):
            begin = time.process_time()
            plan.next_many(users, contexts, budget, BEFORE_OPEN, entities)
            took.append(time.process_time() - begin)
        best, worst = count / min(took) / 1e6, count / max(took) / 1e6
        print(f"  in batch, {what}: {best:.2f} million look-ups a second at best, {worst:.2f} at worst")


if __name__ == "__main__":
    main()
