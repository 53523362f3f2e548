"""Mappings: the shipped ones parse, and each kind of mistake is told in one sentence."""

import zoneinfo
from importlib import resources
from pathlib import Path

import pytest

from usage_analytics.contract import SHIPPED, load_mapping, parse_mapping
from usage_analytics.errors import UserError

GOOD = """
name = "mine"
version = 3
[time]
format = "epoch_ms"
timezone = "Europe/London"
earliest = 2020-01-01
future_tolerance_s = 60
[fields]
event_id = "/id"
event_time = "/at"
user = ["/who/id", "/who/name"]
mini_app = { pointer = "/app", default = "unknown" }
client_firm = { pointer = "/firm", pseudonymise = true }
[properties]
desk = "/desk"
all_of = "/more"
"""


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_mappings_parse(name: str) -> None:
    mapping = load_mapping(name)
    assert mapping.name == name
    fields = {field.name: field for field in mapping.fields}
    assert {"event_id", "event_time", "user", "mini_app"} <= set(fields)
    assert fields["user"].pseudonymise
    assert all(pointer.startswith("/") for field in mapping.fields for pointer in field.pointers)


def test_a_users_own_mapping(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(GOOD)
    mapping = load_mapping(str(path))
    fields = {field.name: field for field in mapping.fields}
    assert (mapping.name, mapping.version, mapping.time_format, mapping.timezone) == (
        "mine", 3, "epoch_ms", "Europe/London",
    )  # fmt: skip
    assert fields["user"].pointers == ("/who/id", "/who/name")
    assert fields["user"].required and not fields["mini_app"].required
    assert fields["mini_app"].default == "unknown"
    assert fields["client_firm"].pseudonymise
    assert [p.name for p in mapping.properties] == ["desk"]
    assert mapping.properties_object == "/more"
    assert mapping.earliest_us == 1_577_836_800_000_000


def test_fingerprint_changes_with_what_is_read_and_not_with_comments() -> None:
    plain = parse_mapping(GOOD, "mine.toml").fingerprint
    assert parse_mapping(GOOD + "# a remark\n", "mine.toml").fingerprint == plain
    changed = [("/app", "/application"), ("version = 3", "version = 4"), ("epoch_ms", "epoch_s"), ("= 60", "= 61")]
    prints = {parse_mapping(GOOD.replace(*change), "mine.toml").fingerprint for change in changed}
    assert len(prints | {plain}) == 5


@pytest.mark.parametrize(
    ("old", "new", "place", "thing"),
    [
        ("version = 3", "version 3", "mine.toml", "not valid TOML"),
        ("version = 3", "version = 'three'", "mine.toml", "version is missing or not a number"),
        ("version = 3", "version = true", "mine.toml", "version is missing or not a number"),
        ('name = "mine"', "", "mine.toml", "name is missing or not a text"),
        ("version = 3", "version = 3\nauthor = 1", "mine.toml", "'author' is not known here"),
        ('event_id = "/id"', "", "[fields]", "event_id is missing; every usage event has one"),
        ('event_id = "/id"', 'event_id = "/id"\nclicks = "/n"', "[fields]", "'clicks' is not known here"),
        ('"/id"', '"id"', "[fields.event_id]", "'id' is not a JSON pointer"),
        ('"/id"', '"/"', "[fields.event_id]", "'/' is not a JSON pointer"),
        ('"/id"', '"$.id"', "[fields.event_id]", "'$.id' is not a JSON pointer"),
        ('"/id"', "5", "[fields.event_id]", "expected a JSON pointer or a table with one, found 5"),
        ('"/id"', "[]", "[fields.event_id]", "pointer is missing"),
        ('"/id"', "{ required = true }", "[fields.event_id]", "pointer is missing"),
        ('"/id"', '{ pointer = "/id", type = "text" }', "[fields.event_id]", "'type' is not known here"),
        ('"/id"', '{ pointer = "/id", kind = "text" }', "[fields.event_id]", "kind is one of string, scalar"),
        ('"/id"', '{ pointer = "/id", kind = "number" }', "[fields.event_id]", "kind 'number' does not fit"),
        ('"/id"', '{ pointer = "/id", required = "yes" }', "[fields.event_id]", "required is true or false"),
        ("pseudonymise = true", "pseudonymise = 1", "[fields.client_firm]", "pseudonymise is true or false, found 1"),
        ('default = "unknown"', "default = 7", "[fields.mini_app]", "default is a string, for a string field"),
        ('"/at"', '{ pointer = "/at", default = "now" }', "[fields.event_time]", "default is a string"),
        ('"epoch_ms"', '"unix"', "[time]", "format is one of iso8601"),
        ('"Europe/London"', '"Europe/Lundon"', "[time]", "timezone 'Europe/Lundon' is not known"),
        ('"Europe/London"', "7", "[time]", "timezone 7 is not known"),
        ('"Europe/London"', '"localtime"', "[time]", "timezone 'localtime' is not known"),  # means each machine's own
        ("2020-01-01", "1999-01-01", "[time]", "earliest is a day from 2010-01-01 on"),
        ("2020-01-01", '"2020-01-01"', "[time]", "earliest is a day from 2010-01-01 on"),
        ("future_tolerance_s = 60", "future_tolerance_s = -1", "[time]", "future_tolerance_s is a number of seconds"),
        ('"/id"', '"/i~d"', "[fields.event_id]", "'/i~d' has a ~ that is followed by neither 0 nor 1"),
        ('"/id"', '"/id~"', "[fields.event_id]", "'/id~' has a ~ that is followed by neither 0 nor 1; write ~0 for ~"),
        ("= 60", "= 9223372036854", "[time]", "future_tolerance_s is at most 948,672,000 (30 years)"),
        ("future_tolerance_s = 60", "future_tolerance = 60", "[time]", "'future_tolerance' is not known here"),
        ('desk = "/desk"', '"the-desk" = "/desk"', "[properties.the-desk]", "letters, digits and _ only"),
        ('desk = "/desk"', 'desk = "/a"\nDesk = "/b"', "[properties]", "'desk' and 'Desk' differ only in upper"),
        ('"/more"', '"/mo~re"', "[properties] all_of", "'/mo~re' has a ~ that is followed by neither 0 nor 1"),
        ('"/more"', '"more"', "[properties] all_of", "'more' is not a JSON pointer"),
        ("[time]", "fields = 5\n[times]", "mine.toml", ""),
    ],
)
def test_each_mistake_is_one_sentence(old: str, new: str, place: str, thing: str) -> None:
    text = GOOD.replace(old, new, 1)
    assert text != GOOD
    with pytest.raises(UserError) as caught:
        parse_mapping(text, "mine.toml")
    sentence = str(caught.value)
    assert sentence.startswith("mapping mine.toml")
    assert place in sentence
    assert thing in sentence
    assert "\n" not in sentence


def test_time_zone_that_only_python_knows_is_refused(tmp_path: Path) -> None:
    # A zone of Python's own search path: the leap-second zones (right/UTC) of many machines are such.
    source = resources.files("tzdata") / "zoneinfo" / "UTC"
    (tmp_path / "right").mkdir()
    (tmp_path / "right" / "UTC").write_bytes(source.read_bytes())
    zoneinfo.reset_tzpath([str(tmp_path)])
    try:
        with pytest.raises(UserError) as caught:
            parse_mapping(GOOD.replace("Europe/London", "right/UTC"), "mine.toml")
    finally:
        zoneinfo.reset_tzpath()
    sentence = "mapping mine.toml [time]: timezone 'right/UTC' is not known to DuckDB, which reads the times"
    assert str(caught.value) == sentence


@pytest.mark.parametrize("table", ["time", "fields", "properties"])
def test_a_table_that_is_none(table: str) -> None:
    with pytest.raises(UserError, match=rf"mapping mine.toml: \[{table}\] is a table, found 5"):
        parse_mapping(f'name = "x"\nversion = 1\n{table} = 5\n' + ("" if table == "fields" else _FIELDS), "mine.toml")


_FIELDS = '[fields]\nevent_id = "/id"\nevent_time = "/at"\nuser = "/who"\nmini_app = "/app"\n'


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"mapping 'nowhere.toml': no such file, nor a shipped mapping"):
        load_mapping("nowhere.toml")
    with pytest.raises(UserError, match="cannot be read"):
        load_mapping(str(tmp_path))
    path = tmp_path / "binary.toml"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(UserError, match="cannot be read"):
        load_mapping(str(path))


LEAK = """
name = "leak"
version = 1
[fields]
event_id = "/id"
event_time = "/ts"
user = "/context/user"
mini_app = "/app"
[properties]
all_of = "/context"
"""


def test_an_object_kept_whole_must_not_hold_what_is_pseudonymised() -> None:
    sentence = "all_of: /context holds /context/user, which user pseudonymises; pick instead"
    with pytest.raises(UserError, match=sentence):
        parse_mapping(LEAK, "leak.toml")
    assert parse_mapping(LEAK.replace('all_of = "/context"', 'all_of = "/contexts"'), "fine.toml").properties_object


@pytest.mark.parametrize("field", ["latency_ms", "properties.desk"])
def test_numbers_are_not_pseudonymised(field: str) -> None:
    table, _, name = field.rpartition(".")
    entry = f'[{table or "fields"}.{name}]\npointer = "/n"\nkind = "number"\npseudonymise = true\n'
    text = LEAK.replace('[properties]\nall_of = "/context"\n', "") + entry
    with pytest.raises(UserError, match="a number cannot be pseudonymised"):
        parse_mapping(text, "odd.toml")
