"""The preload plan as one file that any process maps into its memory: nothing is parsed, nothing copied.

An Arrow IPC file, which any Arrow reader opens: one row, whose columns are the arrays of `PlanTables`. Its footer says
what it is: format, version, facts, and a seal. The seal is the SHA-256 of all bytes, in which its own place counts as
blank; a reader looks at every byte once, when it opens the file, and never gets a plan other than the one written.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from usage_analytics.errors import UserError
from usage_analytics.lake.files import naming
from usage_analytics.models.branching.factors.situations import STEPS
from usage_analytics.serving.decisions.expected_value import Budget
from usage_analytics.serving.plan.checks import check_tables
from usage_analytics.serving.plan.tables import DTYPES, PlanFacts, PlanTables

FORMAT = "usage_analytics preload plan"
FORMAT_VERSION = 6  # another one for any change of what the arrays or the facts mean
BLANK = "0" * 64  # as long as every seal
TAIL_BYTES = 10  # an Arrow file ends with the footer, the footer's length in four bytes, and six letters
REMEDY = "make it again (materialize preload_plan), or use another one (usage-analytics plans)"


class UnusablePlan(UserError):
    """A file is no plan, or none that this version reads, or not as it was written: a sentence names it and why."""


def write_plan(tables: PlanTables, path: Path) -> str:
    """Write a plan and give its seal, 64 hexadecimal digits; the same plan gives the same bytes.

    ValueError on tables that no look-up could trust. The file is not yet synced to the disk.
    """
    check_tables(tables)
    row = _row(tables)
    says = {"format": FORMAT, "format_version": str(FORMAT_VERSION), "facts": _facts_text(tables.facts), "seal": BLANK}
    with naming(path):
        with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, row.schema, metadata=says) as writer:
            writer.write_batch(row)
        with pa.memory_map(str(path)) as mapped:
            place, seal = _seal(mapped.read_buffer(), BLANK)
        with path.open("r+b") as file:
            file.seek(place)
            file.write(seal.encode())
    return seal


def read_plan(path: Path) -> tuple[PlanTables, str]:
    """A plan, mapped, and its seal; `UnusablePlan` unless the file is what was written, in this version's format.

    Its arrays stay valid after the file is replaced or removed, as a plan's file is never changed in place.
    """
    if path.is_dir() or not path.suffix:
        raise UnusablePlan(f"{path} is no plan: give the file of one, whose name ends in .plan")
    try:
        mapped = pa.memory_map(str(path))
        says, batch = _opened(path, mapped)
        _refuse_other_formats(path, says)
        mapped.seek(0)
        seal = says.get("seal", "")
        if _seal(mapped.read_buffer(), seal)[1] != seal:
            raise UnusablePlan(f"{path} is damaged, its bytes are not those that were written: {REMEDY}")
        return _tables(batch, _facts(says["facts"])), seal
    except FileNotFoundError:
        raise UnusablePlan(f"{path} is not there: {REMEDY}") from None
    except OSError as error:
        raise UnusablePlan(f"{path} cannot be read ({error.strerror or error}): {REMEDY}") from None


def _opened(path: Path, mapped: pa.MemoryMappedFile) -> tuple[dict[str, str], pa.RecordBatch]:
    try:
        with pa.ipc.open_file(mapped) as file:
            says = {name.decode(): value.decode() for name, value in (file.metadata or {}).items()}
            return says, file.get_batch(0)
    except (pa.ArrowException, ValueError, IndexError):  # what Arrow tells of a footer helps nobody
        raise UnusablePlan(f"{path} is cut short, damaged or no preload plan: {REMEDY}") from None


def _refuse_other_formats(path: Path, says: Mapping[str, str]) -> None:
    if says.get("format") != FORMAT:
        raise UnusablePlan(f"{path} is damaged or no preload plan: {REMEDY}")
    if says.get("format_version") != str(FORMAT_VERSION):
        raise UnusablePlan(
            f"{path} is a preload plan of format version {says.get('format_version')}, this is version "
            f"{FORMAT_VERSION} of the platform's: {REMEDY}"
        )


def _seal(content: pa.Buffer, present: str) -> tuple[int, str]:
    """Where the seal stands that is in a file now, and the one that belongs there."""
    view = memoryview(content)
    footer_bytes = int.from_bytes(view[-TAIL_BYTES : 4 - TAIL_BYTES], "little")
    footer = max(len(view) - TAIL_BYTES - footer_bytes, 0)
    place = max(footer + bytes(view[footer:]).rfind(present.encode()), 0)
    hashed = hashlib.sha256(view[:place])
    hashed.update(BLANK.encode())
    hashed.update(view[place + len(BLANK) :])
    return place, hashed.hexdigest()


def _row(tables: PlanTables) -> pa.RecordBatch:
    columns = {"mini_apps": pa.array(tables.mini_apps, pa.string())}
    columns |= {name: pa.array(np.ravel(getattr(tables, name))) for name in DTYPES}
    lists = [pa.LargeListArray.from_arrays(pa.array([0, len(each)], pa.int64()), each) for each in columns.values()]
    return pa.record_batch(lists, names=list(columns))


def _tables(row: pa.RecordBatch, facts: PlanFacts) -> PlanTables:
    values = dict(zip(row.schema.names, (column.values for column in row.columns), strict=True))
    arrays: dict[str, Any] = {name: values[name].to_numpy(zero_copy_only=True) for name in DTYPES}
    for name in ("revisit_factors", "class_factors", "phase_factors"):
        arrays[name] = arrays[name].reshape(-1, len(values["mini_apps"]))
    arrays["class_revisits"] = arrays["class_revisits"].reshape(-1, len(STEPS))
    arrays["context_unlisted"] = arrays["context_unlisted"].reshape(len(arrays["context_keys"]), -1)
    classes, mini_apps = arrays["class_factors"].shape
    arrays["prewarm_chances"] = arrays["prewarm_chances"].reshape(len(arrays["prewarm_slots"]), classes, mini_apps)
    return PlanTables(facts=facts, mini_apps=tuple(values["mini_apps"].to_pylist()), **arrays)


def _facts_text(facts: PlanFacts) -> str:
    return json.dumps(asdict(facts), default=lambda value: value.isoformat(), sort_keys=True)


def _facts(text: str) -> PlanFacts:
    fields = json.loads(text)
    return PlanFacts(
        trading_day=date.fromisoformat(fields["trading_day"]),
        probabilities_of=fields["probabilities_of"],
        transitions=fields["transitions"],
        budget=Budget(**fields["budget"]),
        created_at=datetime.fromisoformat(fields["created_at"]),
        timezone=fields["timezone"],
        first_slot=time.fromisoformat(fields["first_slot"]),
        slot_minutes=fields["slot_minutes"],
        holds_on=tuple(map(date.fromisoformat, fields["holds_on"])),
    )
