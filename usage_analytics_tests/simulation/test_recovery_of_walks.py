"""How users walk from mini-app to mini-app is in the messages, as the truth's tables have it."""

import numpy as np
import numpy.typing as npt
import polars as pl
import pytest
from simulation.simulated import Simulated, first_events
from simulation.statistics_of_tests import misfit

Reals = npt.NDArray[np.float64]
CLASSES = ("equity", "fixed_income", "fx", "commodity")
CONTEXT = ("persona", "asset_class", "before_last", "last")


@pytest.fixture(scope="module")
def apps(busy_day: Simulated) -> list[str]:
    """The mini-apps of walks, in the order of all arrays here."""
    return sorted(busy_day.table("mix")["mini_app"].unique())


@pytest.fixture(scope="module")
def walked(busy_day: Simulated) -> pl.DataFrame:
    """Events of walks with the persona of the truth."""
    persona = busy_day.persona_of_users()
    return busy_day.walked.join(persona, on="user", how="left", maintain_order="left")


@pytest.fixture(scope="module")
def planted(busy_day: Simulated, apps: list[str]) -> Reals:
    """The matrices of transitions.parquet; the last place of the mini-app before the last means none."""
    rows = in_places(busy_day.table("transitions"), busy_day.personas, apps, ("before_last", "last", "next"))
    matrices = np.zeros((len(busy_day.personas), len(CLASSES), len(apps) + 1, len(apps), len(apps)))
    matrices[tuple(rows.select(*CONTEXT, "next").to_numpy().T)] = rows["probability"].to_numpy()
    return matrices


@pytest.fixture(scope="module")
def triples(walked: pl.DataFrame, busy_day: Simulated, apps: list[str]) -> pl.DataFrame:
    """Each step of a walk with the two mini-apps before it, and where the instrument in hand leads, in places."""
    before = {name: pl.col("mini_app").shift(n).over("user_session") for name, n in (("before_last", 2), ("last", 1))}
    in_hand = pl.col("instrument").shift(1).over("user_session")
    steps = walked.with_columns(next="mini_app", instrument=in_hand, **before).drop_nulls("last")
    steps = steps.join(busy_day.table("instruments").drop("asset_class"), on="instrument", maintain_order="left")
    return in_places(steps, busy_day.personas, apps, ("before_last", "last", "leads_to", "next"))


def counted(triples: pl.DataFrame, column: str, shape: tuple[int, ...]) -> Reals:
    """How many steps of each context there are by a column."""
    counts = np.zeros(shape)
    np.add.at(counts, tuple(triples.select(*CONTEXT, column).to_numpy().T), 1)
    return counts


def in_places(rows: pl.DataFrame, personas: list[str], apps: list[str], columns: tuple[str, ...]) -> pl.DataFrame:
    """Names of mini-apps, personas and asset classes replaced by their places."""

    def place(column: str, names: list[str]) -> pl.Expr:
        return pl.col(column).cast(pl.Enum(names)).to_physical().cast(pl.Int64).fill_null(len(names))

    return rows.with_columns(
        place("persona", personas), place("asset_class", list(CLASSES)), *(place(column, apps) for column in columns)
    )


def test_transitions_are_the_planted_ones(triples: pl.DataFrame, planted: Reals, busy_day: Simulated) -> None:
    """Counts of triples differ by chance alone (misfit 1 ± 0.05) from what is planted.

    That is a mixture of the second-order matrices and of where the instruments in hand lead.
    """
    observed, led = counted(triples, "next", planted.shape), counted(triples, "leads_to", planted.shape)
    visits = observed.sum(axis=-1, keepdims=True)
    share = busy_day.world["chance_to_go_where_the_instrument_leads"]

    def against(matrices: Reals, share: float = share, led: Reals = led) -> float:
        walked, both = (1 - share) * matrices, (1 - share) * matrices + share
        variance = (visits - led) * walked * (1 - walked) + led * both * (1 - both)
        return misfit(observed, visits * walked + led * share, variance)

    assert against(planted) == pytest.approx(1, abs=0.05)
    # It sees a difference where there is one: matrices of the first order, of another asset class, of other personas.
    flat = np.broadcast_to(planted[:, :, -1][:, :, None], planted.shape)
    assert against(flat) > 2
    assert against(np.roll(planted, 1, axis=1)) > 1.5
    assert against(planted[::-1]) > 2
    # And instruments that lead nowhere, or elsewhere.
    assert against(planted, share=0.0) > 1.05
    assert against(planted, led=np.roll(led, 1, axis=-1)) > 1.1


def test_the_transition_matrix_is_recovered(triples: pl.DataFrame, planted: Reals, busy_day: Simulated) -> None:
    """For each persona, next mini-apps after the often seen pairs are within 0.09 (total variation, on average)."""
    found, led = counted(triples, "next", planted.shape), counted(triples, "leads_to", planted.shape)
    visits = found.sum(axis=-1)
    often = visits >= 400
    assert often.sum() >= 30
    share = busy_day.world["chance_to_go_where_the_instrument_leads"]
    expected = (1 - share) * planted[often] + share * led[often] / visits[often, None]
    distances = np.abs(found[often] / visits[often, None] - expected).sum(axis=-1) / 2
    assert distances.mean() <= 0.09


def test_personas_go_back_and_repeat_as_the_truth_says(planted: Reals, busy_day: Simulated) -> None:
    """Where mere chance hardly ever leads to A, B, A or A, B, B, the matrices have the persona's own habit alone."""
    one, other = (each.ravel() for each in np.indices(planted.shape[-2:]))
    one, other = one[one != other], other[one != other]
    for persona, matrices in zip(busy_day.world["personas"], planted, strict=True):
        assert matrices[:, one, other, one].min() == pytest.approx(persona["revisit"], abs=0.002)
        assert matrices[:, one, other, other].min() == pytest.approx(persona["repeat"], abs=0.002)


def test_walks_are_as_long_and_as_many_as_the_truth_says(walked: pl.DataFrame, busy_day: Simulated) -> None:
    """Events in a user session (± 10 %), and user sessions of a user on the day beside those of others (± 10 %)."""
    activity = busy_day.table("users").select("user", "activity")
    users = busy_day.of_day("users").filter("present").join(activity, on="user")
    weights = dict(users.group_by("persona").agg(pl.col("activity").sum()).iter_rows())
    found = {
        persona: (sessions / weights[persona], events / sessions)
        for persona, sessions, events in walked.group_by("persona")
        .agg(pl.col("user_session").n_unique(), pl.len())
        .iter_rows()
    }
    personas = busy_day.world["personas"]
    scale = np.mean([found[p["name"]][0] / p["user_sessions_per_day"] for p in personas])
    for persona in personas:
        sessions, events = found[persona["name"]]
        assert events == pytest.approx(persona["events_per_user_session"], rel=0.1)
        assert sessions / scale == pytest.approx(persona["user_sessions_per_day"], rel=0.1)


def test_dwell_times_are_the_planted_ones(walked: pl.DataFrame, busy_day: Simulated) -> None:
    """Median seconds until the next action: within 10 % for each persona and often used mini-app."""
    gap = (pl.col("time_us").shift(-1).over("user_session") - pl.col("time_us")) / 1e6
    gaps = walked.with_columns(gap=gap).drop_nulls("gap")
    medians = gaps.group_by("persona", "mini_app").agg(pl.col("gap").median(), pl.len()).filter(pl.col("len") > 2_000)
    assert medians.height >= 30
    for gap_s, dwell_s in medians.join(busy_day.table("mix"), on=["persona", "mini_app"])["gap", "dwell_s"].iter_rows():
        assert gap_s == pytest.approx(dwell_s, rel=0.1)


@pytest.fixture(scope="module")
def beginnings(busy_day: Simulated) -> pl.DataFrame:
    """The first event of each walk, with persona and favourite of its user and the phase of its minute."""
    phases = busy_day.of_day("expected").select("minute_us", "phase")
    favourites = busy_day.table("users").select("user", "favourite")
    begun = first_events(busy_day).join(busy_day.persona_of_users(), on="user").join(favourites, on="user")
    return begun.join(phases, on="minute_us")


def against_beginnings(beginnings: pl.DataFrame, first: pl.DataFrame, habit: float, family_of: dict[str, str]) -> float:
    """How far families of first mini-apps are from a table (persona, phase, mini_app, probability) and favourites."""
    apps, families = list(family_of), sorted(set(family_of.values()))
    belongs = np.array([[family_of[app] == family for family in families] for app in apps], float)
    table = first.pivot(on="mini_app", on_columns=apps, index=["persona", "phase"], values="probability")
    rows = beginnings.join(table, on=["persona", "phase"], maintain_order="left")
    places = {name: rows[name].cast(pl.Enum(apps)).to_physical().to_numpy() for name in ("favourite", "mini_app")}
    chances = (1 - habit) * rows.select(apps).to_numpy() @ belongs + habit * belongs[places["favourite"]]
    groups = rows.select(pl.struct("persona", "phase").rank("dense") - 1).to_series().to_numpy()
    observed, expected, variance = (np.zeros((groups.max() + 1, len(families))) for _ in range(3))
    np.add.at(observed, groups, belongs[places["mini_app"]])
    np.add.at(expected, groups, chances)
    np.add.at(variance, groups, chances * (1 - chances))
    return misfit(observed, expected, variance)


def test_walks_begin_as_planted_by_persona_phase_and_favourite(
    beginnings: pl.DataFrame, busy_day: Simulated, apps: list[str]
) -> None:
    """First mini-apps, and their families, differ from first.parquet and the favourites by chance alone."""
    first, habit = busy_day.table("first"), busy_day.world["chance_to_start_at_the_favourite"]
    assert habit == 0.35
    family = dict(busy_day.table("mini_apps").filter(pl.col("mini_app").is_in(apps))["mini_app", "family"].iter_rows())
    each = {app: app for app in apps}
    assert against_beginnings(beginnings, first, habit, each) == pytest.approx(1, abs=0.2)
    assert against_beginnings(beginnings, first, habit, family) == pytest.approx(1, abs=0.35)
    # It sees a difference where there is one: all phases as midday, and favourites of somebody else.
    midday = first.filter(pl.col("phase") == "midday").drop("phase")
    same_in_all_phases = first.drop("probability").join(midday, on=["persona", "mini_app"])
    assert against_beginnings(beginnings, same_in_all_phases, habit, family) > 1.6
    strangers = beginnings.with_columns(pl.col("favourite").shift(1, fill_value="chat"))
    assert against_beginnings(strangers, first, habit, each) > 1.5


def test_a_third_of_walks_begin_at_the_user_s_favourite(beginnings: pl.DataFrame, busy_day: Simulated) -> None:
    """35 in 100 (± 1.5), apart from those that begin there because the persona does."""
    first = busy_day.table("first").rename({"mini_app": "favourite"})
    rows = beginnings.join(first, on=["persona", "phase", "favourite"])
    found, anyway = (rows["mini_app"] == rows["favourite"]).mean(), rows["probability"].mean()
    habit = (found - anyway) / (1 - anyway)  # type: ignore[operator]
    assert habit == pytest.approx(busy_day.world["chance_to_start_at_the_favourite"], abs=0.015)


def test_at_midday_walks_begin_as_the_persona_likes(
    beginnings: pl.DataFrame, busy_day: Simulated, apps: list[str]
) -> None:
    """The mix is where a walk begins that neither a phase nor a favourite decides."""
    liking = busy_day.table("mix").select("persona", "mini_app", phase=pl.lit("midday"), probability="share")
    midday = beginnings.filter(pl.col("phase") == "midday")
    assert against_beginnings(midday, liking, 0.35, {app: app for app in apps}) == pytest.approx(1, abs=0.3)
