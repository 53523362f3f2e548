"""The lake keeps which pseudonym key it is made with; another one is refused until a person lets it change."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from usage_analytics import parts
from usage_analytics.enrichment.kept_key import keep_key
from usage_analytics.errors import UserError
from usage_analytics.settings import PREFIX, Settings, load_settings
from usage_analytics_tests.integration.platform_under_test import clean_environment

FIRST, ANOTHER = "the first key, long enough", "another key, long enough"


def with_key(home: Path, key: str) -> Settings:
    return load_settings({PREFIX + "HOME": str(home), PREFIX + "PSEUDONYM_KEY": key})


def test_another_key_is_refused_until_the_file_is_deleted(memory_path: Path) -> None:
    parts.enriched_reader(with_key(memory_path, ANOTHER))  # whoever only reads keeps no key
    parts.enricher(with_key(memory_path, FIRST))
    kept = memory_path / "lake" / "pseudonym_key.json"
    told = (
        f"{PREFIX}PSEUDONYM_KEY is another key than the one that this lake's pseudonyms are made with ({kept} keeps "
        "its fingerprint): every user would become another one; put the key back, or, if it is to change for good, "
        f"delete {kept} and materialize usage_events and loaded_events of all windows, then the marts, anew"
    )
    for refused in (parts.enricher, parts.enriched_reader):
        with pytest.raises(UserError) as caught:
            refused(with_key(memory_path, ANOTHER))
        assert str(caught.value) == told
    assert FIRST not in kept.read_text()
    parts.enricher(with_key(memory_path, FIRST))
    kept.unlink()
    parts.enricher(with_key(memory_path, ANOTHER))
    with pytest.raises(UserError, match="is another key than the one that this lake's"):
        parts.enricher(with_key(memory_path, FIRST))


def test_a_development_key_that_was_lost_is_told(memory_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clean_environment(monkeypatch, memory_path)
    parts.enricher(load_settings())
    (memory_path / "development_pseudonym_key").unlink()
    with pytest.raises(UserError, match=f"{memory_path}/development_pseudonym_key is another key than"):
        parts.enricher(load_settings())


def test_runs_at_once_agree_on_one_key(memory_path: Path) -> None:
    keys = [f"key of run {number % 4}, long enough".encode() for number in range(16)]

    def keeps(lake: Path, key: bytes) -> bytes | None:
        try:
            keep_key(lake, key, "its key")
        except UserError:
            return None
        return key

    for attempt in range(20):
        lake = memory_path / str(attempt)
        with ThreadPoolExecutor(8) as pool:
            kept = list(pool.map(lambda key, at=lake: keeps(at, key), keys))
        assert kept.count(None) == 12 and len(set(kept)) == 2


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "whether the pseudonym key is still the same, is damaged: restore it from a copy of the lake, or delete"),
        (b"[1]", "is damaged"),
        (b'{"format": 2}', "written by another version of the platform"),
    ],
)
def test_a_damaged_file_is_told(content: bytes, told: str, memory_path: Path) -> None:
    settings = with_key(memory_path, FIRST)
    parts.enricher(settings)
    (settings.lake / "pseudonym_key.json").write_bytes(content)
    with pytest.raises(UserError, match=f"{settings.lake}/pseudonym_key.json.* {told}"):
        parts.enricher(settings)
