"""Spark Structured Streaming: Kafka source, `from_json`, Parquet sink with checkpoint; all that waits, then stop."""

import os
import sys
from pathlib import Path

from pyspark.sql import SparkSession
from pyspark.sql import functions as f
from pyspark.sql.types import DoubleType, StringType, StructType
from task import NEEDED, TEXTS, Task, asked, done

CONNECTOR = Path(__file__).with_name("spark_connector")  # its jars, fetched by `make bench-ingestion`


def main() -> None:
    task = asked()
    jars = sorted(str(jar) for jar in CONNECTOR.glob("*.jar"))
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    spark = (
        SparkSession.builder.master("local[2]")
        .config("spark.jars", ",".join(jars))
        .config("spark.driver.memory", "2g")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.shuffle.partitions", "2")
        .config("spark.sql.parquet.compression.codec", "zstd")
        .getOrCreate()
    )
    spark.sparkContext.setLogLevel("ERROR")
    read = stream(spark, task)
    written = spark.read.parquet(str(task.folder / "events")).count()
    java = spark.sparkContext._gateway.proc
    spark.stop()
    java.stdin.close()
    java.wait()  # so that its CPU is counted as this process's own
    done(read, written)


def stream(spark: SparkSession, task: Task) -> int:
    schema = StructType()
    for name in (*TEXTS, "properties"):
        schema = schema.add(name, StringType())
    schema = schema.add("latency_ms", DoubleType()).add("timing", StructType().add("latency_ms", DoubleType()))
    messages = (
        spark.readStream.format("kafka")
        .option("kafka.bootstrap.servers", task.servers)
        .option("subscribe", task.topic)
        .option("startingOffsets", "earliest")
        .option("maxOffsetsPerTrigger", "4000000")
        .load()
    )
    event = f.from_json(f.col("value").cast("string"), schema).alias("event")
    events = messages.select(event).select(
        *(f.col(f"event.{name}") for name in (*TEXTS, "properties")),
        f.coalesce("event.latency_ms", "event.timing.latency_ms").alias("latency_ms"),
    )
    query = (
        events.dropna(subset=NEEDED)
        .writeStream.format("parquet")
        .option("path", str(task.folder / "events"))
        .option("checkpointLocation", str(task.folder / "checkpoint"))
        .trigger(availableNow=True)
        .start()
    )
    query.awaitTermination()
    return sum(int(progress["numInputRows"]) for progress in query.recentProgress)


if __name__ == "__main__":
    main()
