"""Prints preload plans, and what one answers."""

from collections.abc import Sequence

from usage_analytics.errors import UserError
from usage_analytics.reporting.terminal import CONSOLE, print_table
from usage_analytics.serving.lookup import LookUp
from usage_analytics.serving.plan.answer import START, Context, Item
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics.serving.prewarm_lookup import PrewarmLookUp

ITEM_COLUMNS = ("rank", "mini-app", "probability", "evidence", "saves, ms", "costs, ms", "worth, ms", "bytes")
PREWARM_COLUMNS = ("rank", "mini-app", "chance", "saves, ms", "costs, ms", "worth, ms", "bytes")
PLAN_COLUMNS = (
    "plan", "answers", "made (UTC)", "mini-apps", "contexts", "users", "classes", "entities", "probabilities from",
)  # fmt: skip


def print_look_up(found: LookUp, asked: Sequence[str]) -> None:
    """The items as a table, with what speaks for each; and what the plan did not know."""
    who = f"user {asked[0]}, last seen in " if found.seen_user else ""
    what = f"{who}{shown(found.context)}"
    rows = [
        (rank, item.mini_app, item.probability, evidence(item, found.entity), item.saved_ms,
         item.cost_ms * found.answer.price, item.value_ms, int(item.payload_bytes))
        for rank, item in enumerate(found.answer.items, start=1)
    ]  # fmt: skip
    if rows:
        print_table(f"{what} (plan {found.answer.plan})", ITEM_COLUMNS, rows)
    else:
        CONSOLE.print(f"{what}: nothing is worth what it costs to preload")
    CONSOLE.print(priced(found))
    for remark in remarks(found):
        CONSOLE.print(remark)


def priced(found: LookUp) -> str:
    """The price that costs were multiplied by, and when it holds."""
    answer = found.answer
    when = f"at {found.at:%H:%M} ({found.at.tzinfo})"
    holds = f", {answer.phase.replace('_', ' ')}" if answer.phase else ", when the plan has no other"
    return f"Price of preloads {when}: {answer.price:.2f}{holds}"


def print_prewarm(found: PrewarmLookUp) -> None:
    """What is to be fetched now, for when, and why; or why nothing is."""
    answer, who = found.answer, "anybody" if found.user is None else f"user {found.user}"
    what = f"{who} at {found.at:%H:%M}"
    rows = [
        (rank, item.mini_app, item.chance, item.saved_ms, item.cost_ms * (answer.price or 0.0), item.value_ms,
         int(item.payload_bytes))
        for rank, item in enumerate(answer.items, start=1)
    ]  # fmt: skip
    if rows:
        print_table(f"{what}, to be opened at {', '.join(answer.times)} (plan {answer.plan})", PREWARM_COLUMNS, rows)
        CONSOLE.print("chance: that a user active now opens it then, and that nothing preloads it at the price of then")
    else:
        CONSOLE.print(f"{what}: nothing to fetch ahead: {answer.nothing_because}")
    if found.user is not None and not answer.known_user:
        CONSOLE.print(
            "The plan knows no class of this user (users have one from their second day on): the population's answer"
        )


def evidence(item: Item, entity: str | None) -> str:
    """What speaks for an item, a line each: the context and its count, what makes a difference, what leads to it."""
    factors = (
        (item.revisit_factor, "as it was opened before"),
        (item.user_factor, "for users like this one"),
        (item.phase_factor, "at this time of day"),
        (item.entity_factor, f"with {entity} in hand"),
    )
    told = [f"after {shown(item.context)}, seen {item.transitions:,} times"] if item.probability > item.led else []
    told += [f"x {factor:.3g} {why}" for factor, why in factors if f"{factor:.3g}" != "1"]
    told += [f"{entity} leads to it: {item.led:.3f}"] if item.led else []
    return "\n".join(told)


def remarks(found: LookUp) -> list[str]:
    """What the plan did not know of what was asked."""
    answer, told = found.answer, []
    if not found.seen_user and found.context:
        told.append("Taken for all that was opened in this user session; rows of preload_plan tell averages over all")
    if found.seen_user and not answer.known_user:
        told.append(
            "The plan knows no class of this user (users have one from their second day on): likes are the population's"
        )
    if found.entity is not None and not answer.known_entity:
        told.append(f"The plan does not know {found.entity}, so having it in hand makes no difference")
    if answer.unknown_mini_apps:
        told.append(f"The plan does not know {', '.join(dict.fromkeys(answer.unknown_mini_apps))}")
    if not answer.whole_context:
        told.append(f"The whole context was seen too seldom: the answer is that after {shown(answer.context)}")
    return told


def print_plans(folder: PlanFolder) -> None:
    """All plans of the folder, newest first; a damaged one too, and why it cannot be used."""
    names, current = folder.names(), folder.current_name()
    if not names:
        CONSOLE.print(f"There is no preload plan in {folder.path} yet: materialize preload_plan first")
        return
    damaged, rows = [], []
    for name in names:
        answers = "now" if name == current else None
        try:
            rows.append(_plan_row(folder.open(name), answers))
        except UserError as error:
            damaged.append(str(error))
            rows.append((name, answers, "damaged", *[None] * (len(PLAN_COLUMNS) - 3)))
    print_table(f"{len(names)} plan{'s' * (len(names) > 1)} in {folder.path}", PLAN_COLUMNS, rows)
    for sentence in damaged:
        CONSOLE.print(sentence)


def shown(context: Context) -> str:
    """A context as people read it."""
    return " > ".join(START if name is None else name for name in context) or "(anywhere)"


def _plan_row(plan: PreloadPlan, answers: str | None) -> tuple[object, ...]:
    tables, made = plan.tables, plan.tables.facts.created_at
    counts = (
        len(tables.mini_apps), len(tables.context_keys), len(tables.user_keys), len(tables.class_factors) - 1,
        len(tables.entity_keys),
    )  # fmt: skip
    return plan.name, answers, f"{made:%Y-%m-%d %H:%M:%S}", *counts, tables.facts.probabilities_of
