"""The file of a plan: it comes back as it was, and is refused, in one sentence, if anything happened to it."""

from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given

from usage_analytics.errors import UserError
from usage_analytics.serving.plan import file as plan_file
from usage_analytics.serving.plan.file import UnusablePlan, read_plan, write_plan
from usage_analytics.serving.plan.tables import DTYPES, PlanTables
from usage_analytics.serving.preload_plan import PreloadPlan
from usage_analytics_tests.serving.made_up_plans import FACTS, IBM, MARY, MadeUp, MadeUpPrewarm, prewarmed_plans

PLAN = MadeUp(
    entries={(): {"news": 0.5}, ("quotes",): {"charts": 0.5, "news": 0.25}},
    saved_ms={"charts": 500.0, "news": 400.0},
    classes=[{"charts": 2.0}],
    users={MARY: 1},
    entities={IBM: {"charts": (2.0, 0.25)}},
    prices=[1.0] * 5 + [4.0] + [1.0] * 30,
    prewarms=[MadeUpPrewarm(4, 6, 1.5, [{"news": 0.5}, {"charts": 0.25}])],
)
AT_NINE = datetime(2026, 11, 24, 14, 0, tzinfo=UTC)  # in New York
REMEDY = r"make it again \(materialize preload_plan\), or use another one \(usage-analytics plans\)"


@pytest.fixture
def path(memory_path: Path) -> Path:
    path = memory_path / "a.plan"
    write_plan(PLAN.tables(), path)
    return path


def same(one: PlanTables, other: PlanTables) -> bool:
    if (one.facts, one.mini_apps) != (other.facts, other.mini_apps):
        return False
    pairs = [(getattr(one, name), getattr(other, name)) for name in DTYPES]
    return all(a.dtype == b.dtype and a.shape == b.shape and (a == b).all() for a, b in pairs)


def test_the_arrays_of_a_plan_are_all_named() -> None:
    assert [field.name for field in fields(PlanTables)] == ["facts", "mini_apps", *DTYPES]


@given(prewarmed_plans())
def test_a_plan_comes_back_as_it_was(tmp_path_factory: pytest.TempPathFactory, plan: MadeUp) -> None:
    path = tmp_path_factory.mktemp("plans") / "a.plan"
    seal = write_plan(plan.tables(), path)
    tables, read_seal = read_plan(path)
    assert same(tables, plan.tables())
    assert read_seal == seal


def test_a_look_up_from_the_file_is_that_from_memory_even_when_the_file_is_gone(path: Path) -> None:
    plan = PreloadPlan.open(path)
    path.unlink()
    expected = PreloadPlan(PLAN.tables(), "a").next(MARY, ("quotes",), entity=IBM)
    assert plan.next(MARY, ("quotes",), entity=IBM) == expected
    assert expected.items and expected.known_user and expected.known_entity
    ahead = PreloadPlan(PLAN.tables(), "a").prewarm(MARY, AT_NINE)
    assert ahead.items and plan.prewarm(MARY, AT_NINE) == ahead


def test_arrays_are_mapped_not_copied(path: Path) -> None:
    tables, _ = read_plan(path)
    for name in DTYPES:
        array = getattr(tables, name)
        assert not array.flags.owndata
        assert not array.flags.writeable


def test_the_same_plan_gives_the_same_bytes_and_another_plan_another_seal(path: Path, memory_path: Path) -> None:
    again = memory_path / "again.plan"
    seal = write_plan(PLAN.tables(), again)
    assert again.read_bytes() == path.read_bytes()
    other = write_plan(replace(PLAN, facts=replace(FACTS, probabilities_of="another")).tables(), again)
    assert other != seal


def test_any_arrow_reader_opens_it(path: Path) -> None:
    table = pa.ipc.open_file(path).read_all()
    assert table.column("mini_apps").to_pylist() == [list(PLAN.mini_apps)]
    assert table.column("saved_ms").to_pylist() == [[1.0, 500.0, 1.0, 400.0, 1.0]]


@pytest.mark.parametrize("bit", [0x01, 0x80])
def test_every_changed_bit_is_noticed(bit: int, path: Path) -> None:
    content = path.read_bytes()
    unnoticed = []
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ bit]) + content[position + 1 :])
        unnoticed += [] if refusal(path) else [position]
    assert unnoticed == []


def test_every_cut_and_every_addition_is_noticed(path: Path) -> None:
    content = path.read_bytes()
    unnoticed = []
    for length in range(len(content)):
        path.write_bytes(content[:length])
        unnoticed += [] if refusal(path) else [length]
    assert unnoticed == []
    for changed in (content + b"\0", b"\0" + content, content + content, content[:100] + b"\0" * 8 + content[100:]):
        path.write_bytes(changed)
        assert refusal(path)


def refusal(path: Path) -> str:
    """The one sentence with which a file is refused; empty where it is taken."""
    try:
        read_plan(path)
    except UnusablePlan as error:
        assert str(path) in str(error)
        return str(error)
    return ""


def test_it_is_said_what_is_wrong(path: Path, memory_path: Path) -> None:
    content = path.read_bytes()
    position = content.index(np.float64(500.0).tobytes())
    path.write_bytes(content[:position] + b"\1" + content[position + 1 :])
    with pytest.raises(UserError, match=f"{path} is damaged, its bytes are not those that were written: {REMEDY}"):
        read_plan(path)
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(UserError, match=f"{path} is cut short, damaged or no preload plan: {REMEDY}"):
        read_plan(path)
    for other in (b"", b"no plan", b"ARROW1\0\0 and nothing more"):
        path.write_bytes(other)
        with pytest.raises(UserError, match="is cut short, damaged or no preload plan"):
            read_plan(path)
    with pa.ipc.new_file(path, pa.schema([("context", pa.string())])) as writer:
        writer.write_table(pa.table({"context": ["quotes"]}))
    with pytest.raises(UserError, match=f"{path} is damaged or no preload plan: {REMEDY}"):
        read_plan(path)
    path.unlink()
    with pytest.raises(UserError, match=f"{path} is not there: {REMEDY}"):
        read_plan(path)
    for other in (memory_path, memory_path / "CURRENT"):
        with pytest.raises(UserError, match=f"{other} is no plan: give the file of one, whose name ends in .plan"):
            read_plan(other)


def test_a_plan_of_an_older_version_is_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(plan_file, "FORMAT_VERSION", 1)
        write_plan(PLAN.tables(), path)
    with pytest.raises(UserError, match=f"is a preload plan of format version 1, this is version 6 of .*: {REMEDY}"):
        PreloadPlan.open(path)


def of_classes(count: int) -> dict[str, np.ndarray]:
    widths = {"context_unlisted": (2, count), "class_factors": (count, 5), "class_revisits": (count, 8)}
    widths |= {"prewarm_chances": (1, count, 5)}
    return {name: np.ones(shape, "<f4") for name, shape in widths.items()}


def twice_ahead() -> dict[str, np.ndarray]:
    """Arrays of a slot that is told twice what it fetches ahead."""
    return {
        "prewarm_slots": np.array([4, 4], "<u2"),
        "prewarm_ends": np.array([6, 6], "<u2"),
        "prewarm_prices": np.ones(2),
        "prewarm_chances": np.ones((2, 2, 5), "<f4"),
    }


def in_hand(positions: list[int], factors: list[float], leads: list[float]) -> dict[str, np.ndarray]:
    """Arrays of a plan's only entity."""
    return {
        "entity_starts": np.array([0, len(positions)], "<u4"),
        "entity_positions": np.array(positions, "<u2"),
        "entity_factors": np.array(factors, "<f4"),
        "entity_leads": np.array(leads, "<f4"),
    }


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"entry_positions": np.array([5, 1, 3], "<u2")}, "one context lists position 5, beyond the 5 mini-apps"),
        ({"entry_positions": np.array([3, 1, 1], "<u2")}, "one context lists a mini-app twice"),
        ({"entry_positions": np.array([3, 1, 3], "<i8")}, r"entry_positions must be uint16 of shape \(3,\), not int64"),
        ({"entry_probabilities": np.array([0.5, 0.7, 0.4], "<f4")}, "probabilities of a context add up to 1.1, more"),
        ({"entry_probabilities": np.array([0.5, 0.2, 0.4], "<f4")}, "must come likeliest first"),
        ({"entry_probabilities": np.array([0.5, np.nan, 0.4], "<f4")}, "entry_probabilities holds a number that is"),
        ({"entry_probabilities": np.array([0.5], "<f4")}, r"entry_probabilities must be float32 of shape \(3,\)"),
        ({"saved_ms": np.array([1.0, -1.0, 1.0, 1.0, 1.0])}, "saved_ms holds a number that is negative or not finite"),
        ({"context_unlisted": np.array([[0.5, 0.5], [0.5, 0.25]], "<f4")}, "of class 0 must be what a context's prob"),
        ({"context_unlisted": np.array([[0.5], [0.25]], "<f4")}, r"context_unlisted must be float32 of shape \(2, 2\)"),
        ({"class_factors": np.full((2, 5), np.inf, "<f4")}, "class_factors holds a number that is negative or not fin"),
        ({"class_factors": np.full((2, 5), 0.5, "<f4")}, "factors of class 0, of users who are not known, must be 1"),
        ({"class_revisits": np.full((2, 8), 0.5, "<f4")}, "factors of class 0, of users who are not known, must be 1"),
        ({"user_classes": np.array([0], "<u1")}, "classes of users must lie between 1 and 1, not 0 and 0"),
        ({"user_classes": np.array([2], "<u1")}, "classes of users must lie between 1 and 1, not 2 and 2"),
        (of_classes(0), "a plan has from 1 to 256 classes of users, not 0"),
        (of_classes(257), "a plan has from 1 to 256 classes of users, not 257"),
        ({"entity_positions": np.array([7], "<u2")}, "one entity lists position 7, beyond the 5 mini-apps"),
        (in_hand([1, 1], [1.0, 1.0], [0.0, 0.0]), "one entity lists a mini-app twice"),
        (in_hand([1, 2], [1.0, 0.0], [0.0, 0.0]), "entity_factors holds 0: a mini-app can be unlikely, not impossible"),
        (in_hand([1, 2], [1.0, np.nan], [0.0, 0.0]), "entity_factors holds a number that is negative or not finite"),
        (in_hand([1, 2], [1.0, 1.0], [0.5, 0.5]), "the leads of an entity add up to 1, which must be less than 1"),
        ({"entity_starts": np.array([0, 2], "<u4")}, "entity_starts must rise from 0 to the 1 positions"),
        ({"phase_factors": np.full((7, 5), 0.5, "<f4")}, "factors of phase 0, outside the trading day, must be 1"),
        (
            {"phase_factors": np.ones((6, 5), "<f4")},
            r"phase_factors must be .* of shape \(7, 5\), not .* \(6, 5\)",
        ),
        ({"slot_phases": np.full(36, 7, "<u1")}, "slot_phases holds 7, beyond the 6 phases"),
        ({"slot_phases": np.ones(35, "<u1")}, r"slot_phases must be uint8 of shape \(36,\), not uint8 of \(35,\)"),
        ({"context_keys": np.array([0, 0], "<u8")}, "context_keys must rise from one to the next"),
        ({"context_keys": np.array([1, 222], "<u8")}, "lacks the empty context"),
        ({"context_keys": np.array([0, 4 * 6**3], "<u8")}, "a key of a longer context than 3 mini-apps"),
        ({"context_starts": np.array([0, 4, 3], "<u4")}, "context_starts must rise from 0 to the 3 positions"),
        ({"context_starts": np.array([0, 1, 2], "<u4")}, "context_starts must rise from 0 to the 3 positions"),
        ({"prewarm_slots": np.array([36], "<u2")}, "what slot 36 fetches ahead, until slot 6, is for no dearer slot"),
        ({"prewarm_slots": np.array([5], "<u2")}, "what slot 5 fetches ahead, until slot 6, is for no dearer slot"),
        ({"prewarm_ends": np.array([5], "<u2")}, "what slot 4 fetches ahead, until slot 5, is for no dearer slot"),
        ({"prewarm_ends": np.array([37], "<u2")}, "what slot 4 fetches ahead, until slot 37, is for no dearer slot"),
        ({"prewarm_prices": np.array([np.inf])}, "prewarm_prices holds a number that is negative or not finite"),
        ({"prewarm_prices": np.array([1.0, 2.0])}, r"prewarm_prices must be float64 of shape \(1,\)"),
        ({"prewarm_chances": np.full((1, 2, 5), 1.5, "<f4")}, "prewarm_chances holds 1.5, more than 1"),
        ({"prewarm_chances": np.full((1, 2, 5), np.nan, "<f4")}, "prewarm_chances holds a number that is negative or"),
        ({"prewarm_chances": np.ones((1, 1, 5), "<f4")}, r"prewarm_chances must be float32 of shape \(1, 2, 5\)"),
        (twice_ahead(), "prewarm_slots must rise from one to the next"),
        ({"transitions": np.array([1, -1])}, "transitions holds a negative number"),
        ({"mini_apps": ("a", "c", "b", "d", "e")}, "mini_apps must be sorted"),
        ({"facts": replace(FACTS, created_at=FACTS.created_at.replace(tzinfo=None))}, "created_at needs a time zone"),
        ({"facts": replace(FACTS, slot_minutes=0)}, "slot_minutes must be at least 1, not 0"),
        (
            {"facts": replace(FACTS, budget=replace(FACTS.budget, bytes=float("inf")))},
            "the budget of bytes is not finite",
        ),
        ({"facts": replace(FACTS, transitions=-1)}, "rests on 0 transitions or more, not -1"),
    ],
)
def test_tables_that_no_look_up_could_trust_never_become_a_file(
    changes: dict[str, object], message: str, memory_path: Path
) -> None:
    with pytest.raises(ValueError, match=message):
        write_plan(replace(PLAN.tables(), **changes), memory_path / "a.plan")
    assert list(memory_path.iterdir()) == []


def test_a_disk_that_is_full_names_the_file() -> None:
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full")
    with pytest.raises(OSError, match="/dev/full"):
        write_plan(PLAN.tables(), full)
