"""Sealed files: whatever happens to one, a full look notices it, and a quick look all that changes its length."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from usage_analytics.lake import sealed_parquet
from usage_analytics.lake.sealed_parquet import BLANK, Damaged, read_footer, verify_sealed, write_sealed

TABLE = pa.table({"name": ["quotes", "charts", BLANK] * 20, "number": pa.array(range(60), pa.int64())})
FACTS = {"chunk": "c1", "letters": "3"}


@pytest.fixture
def path(memory_path: Path) -> Path:
    path = memory_path / "folder" / "sealed.parquet"
    write_sealed(TABLE, path, FACTS)
    return path


def test_a_whole_file_gives_its_rows_and_facts(path: Path) -> None:
    for look in (read_footer, verify_sealed):
        footer = look(path)
        assert footer.rows == 60
        assert FACTS.items() <= footer.facts.items()
    assert pq.read_table(path).equals(TABLE)
    assert [file.name for file in path.parent.iterdir()] == ["sealed.parquet"]


def test_others_can_check_its_pages(path: Path) -> None:
    content = path.read_bytes()
    position = content.index(b"charts")
    path.write_bytes(content[:position] + b"X" + content[position + 1 :])
    with pytest.raises(OSError, match="CRC"), pq.ParquetFile(path, page_checksum_verification=True) as file:
        file.read()


def test_the_same_table_and_facts_give_the_same_bytes(path: Path) -> None:
    content = path.read_bytes()
    write_sealed(TABLE, path, FACTS)
    assert path.read_bytes() == content
    write_sealed(TABLE, path, {**FACTS, "letters": "4"})
    assert path.read_bytes() != content


def test_large_rows_are_few_in_a_row_group_whatever_batches_they_came_in(path: Path) -> None:
    # Readers hold a row group at once: 40 messages of 4 MB in one would be 160 MB, several times over.
    large = pa.table({"number": pa.array(range(9), pa.int64()), "text": ["x" * 6_000_000, None, "y"] * 3})
    write_sealed(large, path, FACTS)
    content = path.read_bytes()
    with pq.ParquetFile(path) as file:
        rows = [file.metadata.row_group(number).num_rows for number in range(file.num_row_groups)]
    assert rows == [6, 3]
    assert pq.read_table(path).equals(large)
    write_sealed(pa.concat_tables([large.slice(0, 4), large.slice(4)]), path, FACTS)
    assert path.read_bytes() == content
    verify_sealed(path)


@pytest.mark.parametrize("mask", [0x01, 0x80, 0xFF])
def test_every_changed_byte_is_noticed(mask: int, path: Path) -> None:
    content = path.read_bytes()
    unnoticed = []
    for position in range(len(content)):
        path.write_bytes(content[:position] + bytes([content[position] ^ mask]) + content[position + 1 :])
        unnoticed += [position] if notices_nothing(verify_sealed, path) else []
    assert unnoticed == []


def test_every_cut_is_noticed_at_a_quick_look(path: Path) -> None:
    content = path.read_bytes()
    unnoticed = []
    for length in range(len(content)):
        path.write_bytes(content[:length])
        unnoticed += [length] if notices_nothing(read_footer, path) else []
    assert unnoticed == []


@given(position=st.integers(4, 300), count=st.integers(1, 200), added=st.booleans())
def test_bytes_lost_or_added_before_the_footer_are_noticed_at_a_quick_look(
    tmp_path_factory: pytest.TempPathFactory, position: int, count: int, added: bool
) -> None:
    path = tmp_path_factory.mktemp("sealed") / "sealed.parquet"
    write_sealed(TABLE, path, FACTS)
    content = path.read_bytes()
    middle = bytes(count) + content[position:] if added else content[position + count :]
    path.write_bytes(content[:position] + middle)
    assert not notices_nothing(read_footer, path)


def notices_nothing(look: Callable[[Path], object], path: Path) -> bool:
    try:
        look(path)
    except Damaged:
        return False
    return True


def test_it_is_said_what_is_wrong(path: Path) -> None:
    pq.write_table(TABLE, path)
    with pytest.raises(Damaged, match="it has no seal"):
        read_footer(path)
    path.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(Damaged, match="its footer cannot be read"):
        read_footer(path)
    path.unlink()
    for look in (read_footer, verify_sealed):
        with pytest.raises(Damaged, match="it is gone"):
            look(path)


def test_a_write_that_fails_leaves_what_was_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    content = path.read_bytes()
    monkeypatch.setattr(sealed_parquet, "publish", full)
    with pytest.raises(OSError, match="no space left"):
        write_sealed(TABLE.slice(1), path, FACTS)
    assert [(file.name, file.read_bytes()) for file in path.parent.iterdir()] == [("sealed.parquet", content)]
