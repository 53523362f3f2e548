"""What a look-up in the preload plan takes, single and in batch; how long a plan takes to open, how large its file is.

A plan of the given size is made up and published into a temporary folder; opening includes the check of all its bytes,
which are in memory by then. Three look-ups in four name a user that the plan knows, contexts are of the last three
mini-apps. Single ones are measured one by one, the batch by its CPU time, on one core.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from plan_tables import Size, made_up_tables

from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.plan_tables import USUAL_PRICE
from usage_analytics.serving.preload_plan import PreloadPlan

OPENINGS, ROUNDS = 20, 5


def main() -> None:
    sizes = Size()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--mini-apps", type=int, default=sizes.mini_apps, help="(default: %(default)s)")
    parser.add_argument("--contexts", type=int, default=sizes.contexts, help="(default: %(default)s)")
    parser.add_argument("--users", type=int, default=sizes.users, help="(default: %(default)s)")
    parser.add_argument("--single", type=int, default=100_000, help="look-ups one by one (default: %(default)s)")
    parser.add_argument("--batch", type=int, default=1_000_000, help="look-ups at once (default: %(default)s)")
    chosen = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    tables = made_up_tables(Size(chosen.mini_apps, chosen.contexts, chosen.users))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{PlanFolder(Path(folder)).publish(tables).name}.plan"
        counts = f"{chosen.mini_apps:,} mini-apps, {len(tables.context_keys):,} contexts, {chosen.users:,} users"
        print(f"{counts}: {path.stat().st_size / 1e6:.1f} MB, usual price {USUAL_PRICE:g}")
        print_opening(path)
        plan = PreloadPlan.open(path)
        print_single(plan, chosen.single)
        print_batch(plan, chosen.batch)


def print_opening(path: Path) -> None:
    took = []
    for _ in range(OPENINGS):
        begin = time.perf_counter()
        PreloadPlan.open(path).next(None, ())
        took.append(time.perf_counter() - begin)
    print(f"opened and asked once: {np.median(took) * 1e3:.1f} ms, at most {max(took) * 1e3:.1f}")


def print_single(plan: PreloadPlan, count: int) -> None:
    draw = np.random.default_rng(2)
    names, keys = plan.tables.mini_apps, plan.tables.user_keys
    contexts = [tuple(names[place] for place in row) for row in draw.integers(0, len(names), (count, 3)).tolist()]
    known = [f"{key:016x}{0:016x}" for key in keys[draw.integers(0, len(keys), count)].tolist()]
    users = [user if number % 4 else None for number, user in enumerate(known)]
    took, cpu = np.empty(count), np.empty(count)
    items = 0
    for number, (user, context) in enumerate(zip(users, contexts, strict=True)):
        cpu_begin, begin = time.thread_time_ns(), time.perf_counter_ns()
        answer = plan.next(user, context)
        took[number], cpu[number] = time.perf_counter_ns() - begin, time.thread_time_ns() - cpu_begin
        items += len(answer.items)
    print(f"single look-ups, {items / count:.2f} items each")
    for what, times in (("clock", took), ("CPU", cpu)):  # where others use the core, the clock runs on meanwhile
        p50, p99, p999 = np.percentile(times / 1e3, [50, 99, 99.9])
        print(f"  microseconds by the {what}: p50 {p50:.1f}, p99 {p99:.1f}, p99.9 {p999:.1f}")


def print_batch(plan: PreloadPlan, count: int) -> None:
    draw = np.random.default_rng(3)
    keys = plan.tables.user_keys
    users = keys[draw.integers(0, len(keys), count)]
    users[::4] = 0
    contexts = draw.integers(1, len(plan.tables.mini_apps) + 1, (count, 3))
    plan.next_many(users[:1], contexts[:1])  # makes the batch's own tables
    took = []
    for _ in range(ROUNDS):
        begin = time.process_time()
        plan.next_many(users, contexts)
        took.append(time.process_time() - begin)
    best, worst = count / min(took) / 1e6, count / max(took) / 1e6
    print(f"in batch: {best:.2f} million look-ups a second at best, {worst:.2f} at worst")


if __name__ == "__main__":
    main()
