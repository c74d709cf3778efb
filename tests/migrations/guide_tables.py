"""The guide's own table, and what its reader has in it: the statements, the rows, and the records they stand for."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from typing import Any

import sqlalchemy as sa

from pytest_aistorage import AIProgress

POSTGRESQL = """
CREATE TABLE ai_progress (
  id SERIAL PRIMARY KEY,
  model_name VARCHAR(255) UNIQUE NOT NULL,
  training_start TIMESTAMP,
  training_end TIMESTAMP,
  accuracy FLOAT,
  mse FLOAT NOT NULL,
  training_samples INTEGER,
  cross_validation_score FLOAT,
  metadata JSONB,
  created_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP,
  updated_at TIMESTAMP DEFAULT CURRENT_TIMESTAMP
);
CREATE INDEX idx_ai_progress_model_name ON ai_progress(model_name);
CREATE INDEX idx_ai_progress_created_at ON ai_progress(created_at DESC);
"""
MYSQL = POSTGRESQL.replace("JSONB", "JSON")
"""MySQL and MariaDB have no JSONB; the rest they take as it is."""

START = datetime(2025, 3, 1, 12, 30, 15, tzinfo=UTC)
_INSERT = (
    "INSERT INTO ai_progress (model_name, training_start, accuracy, mse, training_samples, metadata, created_at) "
    "VALUES (:model_name, :training_start, :accuracy, :mse, :training_samples, :metadata, :created_at)"
)


def create(connection: sa.Connection, product: str) -> None:
    """Make the table and its two indexes."""
    for statement in (POSTGRESQL if product == "postgres" else MYSQL).split(";"):
        if statement.strip():
            connection.execute(sa.text(statement))


def fill(connection: sa.Connection, count: int) -> dict[str, AIProgress]:
    """Write rows as the guide's application does; return the records that they stand for, by name."""
    if connection.dialect.name != "postgresql":
        connection.execute(sa.text("SET SESSION time_zone = '+00:00'"))
    records: dict[str, AIProgress] = {}
    for number in range(count):
        # Names that only an exact comparison tells apart; numbers that 32 bits keep inexactly.
        name = f"model {number}" + (" ä" if number % 2 else "")
        accuracy = None if number % 7 == 0 else round(0.9 + number / 10000, 4)
        records[name] = AIProgress(
            model_name=name,
            mse=round(0.1 + number / 1000, 3),
            accuracy=accuracy,
            training_samples=number,
            training_start=START,
            metadata={} if number % 5 == 0 else {"z": number, "a": {"text": "ä", "rate": 0.001}},
        )
        row: dict[str, Any] = {
            "model_name": name,
            "training_start": START.replace(tzinfo=None),
            "accuracy": accuracy,
            "mse": records[name].mse,
            "training_samples": number,
            "metadata": None
            if number % 5 == 0
            else f'{{"z": {number}, "a": {{"text": "\\u00e4", "rate": 0.001}}}}',
            "created_at": None if number % 3 == 0 else START.replace(tzinfo=None),
        }
        connection.execute(sa.text(_INSERT), row)
    return records


def insert(connection: sa.Connection, model_name: str) -> None:
    """Write one row with little in it."""
    connection.execute(
        sa.text(
            "INSERT INTO ai_progress (model_name, mse, metadata, created_at, updated_at) "
            "VALUES (:name, 0.5, '{}', :moment, :moment)"
        ),
        {"name": model_name, "moment": START.replace(tzinfo=None)},
    )


def as_32_bits(value: float) -> float:
    """What a 32-bit column keeps of a number."""
    return float(struct.unpack("f", struct.pack("f", value))[0])
