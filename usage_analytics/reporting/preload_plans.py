"""Prints preload plans, and what one answers."""

from collections.abc import Sequence

from usage_analytics.errors import UserError
from usage_analytics.reporting.terminal import CONSOLE, print_table
from usage_analytics.serving.lookup import LookUp
from usage_analytics.serving.plan_folder import PlanFolder
from usage_analytics.serving.preload_plan import Answer, Context, PreloadPlan

ITEM_COLUMNS = (
    "rank", "mini-app", "probability", "because after", "was seen, times", "revisits", "this user", "saves, ms",
    "costs, ms", "worth, ms", "bytes",
)  # fmt: skip
PLAN_COLUMNS = ("plan", "answers", "made (UTC)", "mini-apps", "contexts", "users", "model")


def print_look_up(found: LookUp, asked: Sequence[str]) -> None:
    """The items as a table, with what speaks for each; and what the plan did not know."""
    who = f"user {asked[0]}, last seen in " if found.seen_user else ""
    what = f"{who}{' > '.join(found.context)}"
    rows = [
        (rank, item.mini_app, item.probability, shown(item.context), item.transitions, item.revisit_factor,
         item.user_factor, item.saved_ms, item.cost_ms * found.answer.price, item.value_ms, int(item.payload_bytes))
        for rank, item in enumerate(found.answer.items, start=1)
    ]  # fmt: skip
    if rows:
        print_table(f"{what} (plan of {found.trading_day})", ITEM_COLUMNS, rows)
    else:
        CONSOLE.print(f"{what}: nothing is likely enough to preload")
    for remark in remarks(found.answer, found.seen_user):
        CONSOLE.print(remark)


def remarks(answer: Answer, user_asked: bool) -> list[str]:
    """What the plan did not know of what was asked."""
    found = []
    if user_asked and not answer.known_user:
        found.append("The plan knows nothing of this user's own: these are the population's numbers")
    if answer.unknown_mini_apps:
        found.append(f"The plan does not know {', '.join(dict.fromkeys(answer.unknown_mini_apps))}")
    if not answer.whole_context:
        found.append(f"The whole context was seen too seldom: the answer is that after {shown(answer.context)}")
    return found


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
            rows.append((name, answers, "damaged", None, None, None, None))
    print_table(f"{len(names)} plans in {folder.path}", PLAN_COLUMNS, rows)
    for sentence in damaged:
        CONSOLE.print(sentence)


def shown(context: Context) -> str:
    """A context as people read it."""
    return " > ".join("(start)" if name is None else name for name in context) or "(anywhere)"


def _plan_row(plan: PreloadPlan, answers: str | None) -> tuple[object, ...]:
    tables, made = plan.tables, plan.tables.facts.created_at
    counts = (len(tables.mini_apps), len(tables.context_keys), len(tables.user_keys))
    return plan.name, answers, f"{made:%Y-%m-%d %H:%M:%S}", *counts, tables.facts.model
