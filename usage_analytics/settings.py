"""Typed settings from the environment; the only place that reads it."""

import os
import re
import secrets
from collections.abc import Mapping as Environment
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from functools import cached_property
from pathlib import Path

from usage_analytics.contract import Mapping, load_mapping
from usage_analytics.errors import UserError
from usage_analytics.ingestion.offset_log import chunk_name
from usage_analytics.ingestion.shares import MOST_SHARES
from usage_analytics.lake.files import create_exclusive, temporary_name
from usage_analytics.lake.sealed_parquet import SNAPPY, ZSTD
from usage_analytics.tables import USAGE_EVENTS
from usage_analytics.trading_calendar import FIRST_DAY, TradingCalendar, TradingClock, trading_calendar
from usage_analytics.warehouse.funnel_definitions import load_funnels
from usage_analytics.warehouse.marts import MartRules
from usage_analytics.warehouse.synapse.pool import SynapsePool

PREFIX = "USAGE_ANALYTICS_"
LAKE = "lake"  # in the home folder
MOST = 1_000_000_000  # more than any machine's: whoever asks for more has mistyped
# The longest name that is made of a topic's: of a chunk's file while it is written, with the largest Kafka partition.
LONGEST_TOPIC = 255 - len(temporary_name(f"{chunk_name('', 2**31 - 1, 0)}.parquet"))
# Settings of a Kafka client that users set by habit as KAFKA_SASL_USERNAME and the like; other KAFKA_ variables
# (KAFKA_HOME, KAFKA_OPTS ...) belong to Kafka's own scripts and must not reach the client.
KAFKA_CLIENT_PREFIXES = (
    "SECURITY_", "SASL_", "SSL_", "ENABLE_SSL_", "CLIENT_", "SOCKET_", "CONNECTIONS_", "METADATA_MAX_AGE_",
    "MESSAGE_MAX_", "FETCH_", "CHECK_CRCS", "COMPRESSION_",
)  # fmt: skip
SERVERS = "KAFKA_BOOTSTRAP_SERVERS"
SURROGATE = re.compile(r"[\ud800-\udfff]")  # so Python gives bytes of the environment that are not UTF-8
COLUMNS = "|".join(USAGE_EVENTS.column_names())  # DuckDB takes a folder named column=value for a column of its files
MISREAD = re.compile(rf"[?\\]|%[0-9A-Fa-f]{{2}}|/(?:{COLUMNS})=|{SURROGATE.pattern}")


@dataclass(frozen=True)
class Settings:
    """Everything a run may depend on besides its data. `SETTINGS_HELP` says what each one is for."""

    home: Path
    topic: str = "usage-messages"
    mapping_name: str = "usage_event"
    bootstrap_servers: str | None = None
    kafka_client: tuple[tuple[str, str], ...] = field(default=(), repr=False)
    kafka_timeout_s: float = 10.0
    micro_batch_threshold: int = 100_000
    sensor_interval_s: int = 15
    longest_wait_s: int = 60
    max_messages_per_run: int = 20_000_000
    chunk_messages: int = 250_000
    chunk_megabytes: int = 128
    batch_messages: int = 25_000
    parallel: int = 2
    shares: int = 1
    warehouse_memory: int = 768
    pseudonym_key: bytes | None = field(default=None, repr=False)
    clock: TradingClock = field(default_factory=TradingClock)
    history_start: date = date(2025, 1, 1)
    error_actions: tuple[str, ...] = ("error",)
    funnels_file: Path | None = None
    synapse: SynapsePool | None = None

    @property
    def lake(self) -> Path:
        return self.home / LAKE

    @property
    def warehouse(self) -> Path:
        return self.home / "warehouse.duckdb"

    @property
    def preload_plans(self) -> Path:
        return self.home / "preload_plans"

    @property
    def enriched_compression(self) -> str:
        """Of the files of usage events: Synapse reads no zstd."""
        return SNAPPY if self.synapse is not None else ZSTD

    @property
    def broker_directory(self) -> Path:
        return self.home / "broker"

    @cached_property
    def mapping(self) -> Mapping:
        return load_mapping(self.mapping_name)

    @property
    def calendar(self) -> TradingCalendar:
        return trading_calendar(self.clock)

    @cached_property
    def mart_rules(self) -> MartRules:
        return MartRules(self.error_actions, load_funnels(self.funnels_file) if self.funnels_file else ())


def load_settings(environment: Environment[str, str] | None = None) -> Settings:
    """The settings of an environment (this process's by default); a wrong one is a `UserError` that names it."""
    env = os.environ if environment is None else environment
    read = _Reader(env)
    known = set(read.names)
    for name in env:
        if name.startswith(PREFIX) and name not in known:
            raise UserError(f"{name} is not a setting (see: usage-analytics settings)")
    for name in (*known, SERVERS, *_kafka_client_names(env)):
        if SURROGATE.search(env.get(name, "")):  # its value is not shown: it may be a secret
            raise UserError(f"{name} holds bytes that are not UTF-8 text")
    defaults = Settings(Path())
    home = read.folder("HOME", ".usage_analytics")
    shares = read.positive("SHARES", defaults.shares, most=MOST_SHARES)
    return Settings(
        home=home,
        topic=read.topic("TOPIC", defaults.topic),
        mapping_name=read.text("MAPPING", defaults.mapping_name),
        bootstrap_servers=_bootstrap_servers(env),
        kafka_client=_kafka_client(env),
        kafka_timeout_s=read.positive("KAFKA_TIMEOUT_S", int(defaults.kafka_timeout_s), most=3_600),
        micro_batch_threshold=read.positive("MICRO_BATCH_THRESHOLD", defaults.micro_batch_threshold),
        sensor_interval_s=read.positive("SENSOR_INTERVAL_S", defaults.sensor_interval_s, most=3_600),
        longest_wait_s=read.positive("LONGEST_WAIT_S", defaults.longest_wait_s),
        max_messages_per_run=read.positive("MAX_MESSAGES_PER_RUN", defaults.max_messages_per_run),
        chunk_messages=read.positive("CHUNK_MESSAGES", defaults.chunk_messages),
        chunk_megabytes=read.positive("CHUNK_MEGABYTES", defaults.chunk_megabytes),
        batch_messages=read.positive("BATCH_MESSAGES", defaults.batch_messages),
        parallel=read.positive("PARALLEL", defaults.parallel, most=64),
        shares=shares,
        warehouse_memory=read.positive("WAREHOUSE_MEMORY", defaults.warehouse_memory, least=768),
        pseudonym_key=env[PREFIX + "PSEUDONYM_KEY"].encode() if env.get(PREFIX + "PSEUDONYM_KEY") else None,
        clock=_clock(read),
        history_start=read.day("HISTORY_START", defaults.history_start),
        error_actions=read.names_listed("ERROR_ACTIONS", defaults.error_actions),
        funnels_file=read.folder("FUNNELS", "") if env.get(PREFIX + "FUNNELS") else None,
        synapse=_synapse(read, home / LAKE, shares),
    )


def usable_home(home: Path, asked_by: str) -> Path:
    """A home folder as an absolute path; `UserError`, naming who asked for it, where its path would mean another.

    Dagster keeps its runs under a URL of the path, in which ? and %20 mean something else; DuckDB takes ? and a
    backslash for signs of its own.
    """
    home = home.absolute()
    found = MISREAD.search(str(home))
    if found is not None:
        why = "which Dagster or DuckDB would take for another folder; choose a path without it"
        raise UserError(f"{asked_by} {str(home)!r} has {found[0]!r} in it, {why}")
    return home


def pseudonym_key(settings: Settings) -> bytes:
    """The key of all pseudonyms.

    From the environment; only where the embedded broker stands in for a cluster is one made and kept in the home
    folder, so that a first try needs no set-up and a real deployment cannot start without its secret.
    """
    if settings.pseudonym_key is not None:
        if len(settings.pseudonym_key) < 16:
            raise UserError(f"{PREFIX}PSEUDONYM_KEY is shorter than 16 characters: too easy to guess")
        return settings.pseudonym_key
    if settings.bootstrap_servers is not None:
        raise UserError(f"{PREFIX}PSEUDONYM_KEY is not set; user identifiers are not stored without a secret key")
    path = _development_key(settings)
    if not path.exists():  # a key that is there needs no room on a full disk
        create_exclusive(path, secrets.token_hex(32).encode(), mode=0o600)
    return path.read_bytes()


def has_pseudonym_key(settings: Settings) -> bool:
    """Whether there is a key already; `pseudonym_key` might make one."""
    if settings.pseudonym_key is not None:
        return True
    return settings.bootstrap_servers is None and _development_key(settings).exists()


def whence_pseudonym_key(settings: Settings) -> str:
    """The variable, or the file, that the key of all pseudonyms comes from."""
    return f"{_development_key(settings)}" if settings.pseudonym_key is None else f"{PREFIX}PSEUDONYM_KEY"


def _development_key(settings: Settings) -> Path:
    return settings.home / "development_pseudonym_key"


SETTINGS_HELP = {
    "HOME": "folder of the lake, the warehouse and the embedded broker",
    "TOPIC": "Kafka topic of the usage messages",
    "MAPPING": "shipped mapping or TOML file that reads the messages",
    "KAFKA_TIMEOUT_S": "how long a broker may take to answer, in seconds",
    "MICRO_BATCH_THRESHOLD": "waiting messages that make the sensor start a micro-batch",
    "LONGEST_WAIT_S": "fewer start one too, if none was landed for so many seconds",
    "SENSOR_INTERVAL_S": "how often the sensor looks, in seconds; read when the code is loaded",
    "MAX_MESSAGES_PER_RUN": "most messages one micro-batch takes",
    "CHUNK_MESSAGES": "a raw chunk is closed once it holds so many messages",
    "CHUNK_MEGABYTES": "or so many megabytes of them",
    "BATCH_MESSAGES": "messages parsed at a time; bounds memory",
    "PARALLEL": "threads of a run that land messages, each from some of the Kafka partitions; memory grows with them",
    "SHARES": "how many runs share the Kafka partitions (by their numbers, modulo this); 1: each run takes all of them",
    "WAREHOUSE_MEMORY": "megabytes of memory that DuckDB may take for the warehouse, 768 or more",
    "PSEUDONYM_KEY": "secret of the pseudonyms, 16 characters or more (no default with a real cluster)",
    "EXCHANGE": "exchange calendar of the trading days",
    "TIMEZONE": "time zone of the windows",
    "OPENING_HOUR": "first hour of a trading day's windows",
    "CLOSING_HOUR": "hour at which a trading day's last window begins to wait for the next day",
    "WINDOW_MINUTES": "length of a window",
    "HISTORY_START": "first day of the partitions",
    "ERROR_ACTIONS": "actions that tell of an error, with commas between",
    "FUNNELS": "TOML file of the funnels that are counted",
    "SYNAPSE_SERVER": "dedicated SQL pool that is the warehouse, such as acme.sql.azuresynapse.net (default: DuckDB)",
    "SYNAPSE_DATABASE": "name of the pool",
    "SYNAPSE_SCHEMA": "schema of the platform's tables in the pool",
    "SYNAPSE_LAKE": "where the pool finds the lake, such as https://acme.dfs.core.windows.net/usage/lake",
    "SYNAPSE_LOGIN": "SQL login at the pool (default: the managed identity of this machine)",
    "SYNAPSE_PASSWORD": "its password",
    "SYNAPSE_DRIVER": "ODBC driver, by name or by the path of its library",
}


def current_values() -> dict[str, str]:
    """What each setting is now, as text; secrets are not shown."""
    s = load_settings()
    values = {
        "HOME": s.home, "TOPIC": s.topic, "MAPPING": s.mapping_name, "KAFKA_TIMEOUT_S": f"{s.kafka_timeout_s:g}",
        "MICRO_BATCH_THRESHOLD": s.micro_batch_threshold, "SENSOR_INTERVAL_S": s.sensor_interval_s,
        "LONGEST_WAIT_S": s.longest_wait_s,
        "MAX_MESSAGES_PER_RUN": s.max_messages_per_run,
        "CHUNK_MESSAGES": s.chunk_messages, "CHUNK_MEGABYTES": s.chunk_megabytes, "BATCH_MESSAGES": s.batch_messages,
        "PARALLEL": s.parallel, "SHARES": s.shares, "WAREHOUSE_MEMORY": s.warehouse_memory,
        "PSEUDONYM_KEY": "(set)" if s.pseudonym_key else "(not set)",
        "EXCHANGE": s.clock.exchange, "TIMEZONE": s.clock.timezone,
        "OPENING_HOUR": s.clock.opening_hour, "CLOSING_HOUR": s.clock.closing_hour,
        "WINDOW_MINUTES": s.clock.window_minutes, "HISTORY_START": s.history_start,
        "ERROR_ACTIONS": ",".join(s.error_actions), "FUNNELS": s.funnels_file or "(none)",
        **_shown(s.synapse),
        "KAFKA_BOOTSTRAP_SERVERS": s.bootstrap_servers or "(not set)",
    }  # fmt: skip
    return {name: str(value) for name, value in values.items()}


def _shown(pool: SynapsePool | None) -> dict[str, object]:
    if pool is None:
        return {name: "(not set)" for name in SETTINGS_HELP if name.startswith("SYNAPSE_")}
    return {
        "SYNAPSE_SERVER": pool.server, "SYNAPSE_DATABASE": pool.database, "SYNAPSE_SCHEMA": pool.schema,
        "SYNAPSE_LAKE": pool.lake_address, "SYNAPSE_LOGIN": pool.login or "(managed identity)",
        "SYNAPSE_PASSWORD": "(set)" if pool.password else "(not set)", "SYNAPSE_DRIVER": pool.driver,
    }  # fmt: skip


def _synapse(read: "_Reader", lake: Path, shares: int) -> SynapsePool | None:
    server = read.text("SYNAPSE_SERVER", "")
    if not server:
        for name in ("DATABASE", "LAKE", "LOGIN", "PASSWORD"):
            if read.text(f"SYNAPSE_{name}", ""):
                raise UserError(f"{PREFIX}SYNAPSE_{name} is set, but {PREFIX}SYNAPSE_SERVER is not")
        return None
    for name in ("DATABASE", "LAKE"):
        if not read.text(f"SYNAPSE_{name}", ""):
            raise UserError(f"{PREFIX}SYNAPSE_SERVER is set, but {PREFIX}SYNAPSE_{name} is not")
    if shares > 1:  # runs of several machines are what shares are for, and only processes of one wait for each other
        raise UserError(
            f"{PREFIX}SHARES is {shares} and {PREFIX}SYNAPSE_SERVER is set: a Synapse pool cannot keep the loads of "
            f"several runs apart; leave {PREFIX}SHARES at 1"
        )
    address = read.text("SYNAPSE_LAKE", "")
    # The pool's managed identity reads Parquet by that end point alone (Microsoft, "COPY INTO").
    if not address.startswith("https://") or ".dfs.core.windows.net/" not in address:
        example = "https://acme.dfs.core.windows.net/usage/lake"
        raise UserError(f"{PREFIX}SYNAPSE_LAKE is the address of a folder such as {example}, found {address!r}")
    login, password = read.text("SYNAPSE_LOGIN", "") or None, read.text("SYNAPSE_PASSWORD", "") or None
    if (login is None) != (password is None):
        lacking = "PASSWORD" if password is None else "LOGIN"
        raise UserError(f"{PREFIX}SYNAPSE_{lacking} is not set: a SQL login is a name and a password")
    return SynapsePool(
        server, read.text("SYNAPSE_DATABASE", ""), lake, address, read.text("SYNAPSE_SCHEMA", SynapsePool.schema),
        login, password, read.text("SYNAPSE_DRIVER", SynapsePool.driver),
    )  # fmt: skip


class _Reader:
    """Reads one variable at a time and says which one was wrong."""

    def __init__(self, env: Environment[str, str]) -> None:
        self.env = env
        self.names = [PREFIX + name for name in SETTINGS_HELP]

    def text(self, name: str, default: str) -> str:
        return self.env.get(PREFIX + name) or default

    def positive(self, name: str, default: int, least: int = 1, most: int = MOST) -> int:
        text = self.text(name, str(default))
        digits = (text.lstrip("0") or "0")[: len(str(most)) + 1]  # int() refuses some thousand of them
        if not text.isdecimal() or int(digits) < least:
            raise UserError(f"{PREFIX}{name} is a whole number from {least} on, found {text!r}")
        if int(digits) > most:
            raise UserError(f"{PREFIX}{name} is at most {most:,}, found {text[:20]!r}")
        return int(digits)

    def names_listed(self, name: str, default: tuple[str, ...]) -> tuple[str, ...]:
        listed = [part.strip() for part in self.text(name, ",".join(default)).split(",")]
        return tuple(dict.fromkeys(part for part in listed if part))

    def folder(self, name: str, default: str) -> Path:
        text = self.text(name, default)
        try:
            return usable_home(Path(text).expanduser(), PREFIX + name)
        except RuntimeError:
            raise UserError(f"{PREFIX}{name} names a user whose home folder is not known, found {text!r}") from None

    def topic(self, name: str, default: str) -> str:
        text = self.text(name, default)
        if not re.fullmatch(r"[A-Za-z0-9._-]+", text) or text in (".", ".."):
            what = "the name of a Kafka topic: letters, digits, '.', '_' and '-'"
            raise UserError(f"{PREFIX}{name} is {what}, found {text[:40]!r}")
        if len(text) > LONGEST_TOPIC:
            why = f"has {len(text)} characters; names of files are made of it, so that {LONGEST_TOPIC} is the most"
            raise UserError(f"{PREFIX}{name} {text[:40]!r}… {why}")
        return text

    def day(self, name: str, default: date) -> date:
        text = self.text(name, default.isoformat())
        try:
            day = date.fromisoformat(text)
            if not FIRST_DAY <= day <= datetime.now(UTC).date():
                raise UserError(f"{PREFIX}{name} is a day from {FIRST_DAY} until today, found {text!r}")
            return day
        except ValueError:
            raise UserError(f"{PREFIX}{name} is a day such as 2026-01-01, found {text!r}") from None


def _clock(read: _Reader) -> TradingClock:
    return TradingClock(
        exchange=read.text("EXCHANGE", TradingClock.exchange),
        timezone=read.text("TIMEZONE", TradingClock.timezone),
        opening_hour=read.positive("OPENING_HOUR", TradingClock.opening_hour, least=0),
        closing_hour=read.positive("CLOSING_HOUR", TradingClock.closing_hour),
        window_minutes=read.positive("WINDOW_MINUTES", TradingClock.window_minutes),
    )


def _bootstrap_servers(env: Environment[str, str]) -> str | None:
    servers = env.get(SERVERS) or None
    if servers is not None and any(sign in servers for sign in "=;"):  # it is shown everywhere, so not even here
        raise UserError(
            "KAFKA_BOOTSTRAP_SERVERS is a list such as broker-1:9092,broker-2:9092, found '=' or ';' in it: "
            "a connection string is a password (KAFKA_SASL_PASSWORD)"
        )
    return servers


def _kafka_client(env: Environment[str, str]) -> tuple[tuple[str, str], ...]:
    names = _kafka_client_names(env)
    return tuple((n.removeprefix("KAFKA_").lower().replace("_", "."), env[n]) for n in names)


def _kafka_client_names(env: Environment[str, str]) -> list[str]:
    names = [name for name in env if name.startswith("KAFKA_")]
    return [n for n in sorted(names) if n.removeprefix("KAFKA_").startswith(KAFKA_CLIENT_PREFIXES)]
