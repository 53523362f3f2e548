"""Shows the settings: what each is now, which variables reach the Kafka client, whether the pieces in C are used."""

import re

from usage_analytics.enrichment import scanning
from usage_analytics.ingestion import draining
from usage_analytics.reporting.terminal import CONSOLE, print_table
from usage_analytics.settings import PREFIX, SETTINGS_HELP, current_values, load_settings

# Values of other variables of the Kafka client may be secrets, or hold some.
HARMLESS = re.compile(r"(?:protocol|mechanisms?|username|location|id|type|ms|bytes|algorithm|verification|enable)$")
REMEDY = "install a C compiler (Debian: gcc libc6-dev), then: make clean, and make demo"


def print_settings() -> None:
    """Print all settings with what they are now; no secrets."""
    values = current_values()
    rows = [(PREFIX + name, values[name], meaning) for name, meaning in SETTINGS_HELP.items()]
    rows.append(
        ("KAFKA_BOOTSTRAP_SERVERS", values["KAFKA_BOOTSTRAP_SERVERS"], "the cluster; unset: the embedded broker")
    )
    client = load_settings().kafka_client
    rows += [
        ("KAFKA_" + name.upper().replace(".", "_"), _shown(name, value), f"passed to the Kafka client as {name}")
        for name, value in client
    ]
    print_table("Settings", ("variable", "value", "what it is"), rows)
    if not client:
        CONSOLE.print(
            "No other KAFKA_ variable reaches the Kafka client: none of KAFKA_SECURITY_…, KAFKA_SASL_… is set"
        )
    CONSOLE.print(_pieces())


def _shown(name: str, value: str) -> str:
    # A connection string is a password, wherever it was put by mistake.
    return value if HARMLESS.search(name) and not re.search("[=;]", value) else "(set)"


def _pieces() -> str:
    """Whether the pieces in C are used, and what to do where they are not."""
    told = {
        "scan": (scanning.compiled(), "judges messages", scanning.BY_SQL_ALONE),
        "drain": (draining.compiled(), "reads Kafka", draining.ONE_BY_ONE),
    }
    used = [f"{name} ({does})" for name, (library, does, _) in told.items() if library is not None]
    missed = [f"{name}: {without}, which is slower" for name, (library, _, without) in told.items() if library is None]
    if not missed:
        return f"Both pieces in C are in use: {' and '.join(used)}"
    return f"Not in use of the pieces in C: {'; '.join(missed)}. Remedy: {REMEDY}"
