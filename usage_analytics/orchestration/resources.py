"""What assets are given to work with."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg
from pydantic import Field

from usage_analytics import parts
from usage_analytics.errors import TransientError, UserError
from usage_analytics.ingestion.shares import EVERYTHING, Share, parse_share
from usage_analytics.settings import Settings, load_settings
from usage_analytics.warehouse.protocol import Warehouse

TRIES_AGAIN, AGAIN_AFTER_S = 3, 30.0  # what passes by itself, such as a connection that is lost
RUN_WAIT_S = 300.0  # each step of a run waits so long for the warehouse: for loads of other shares, and for marts


class Platform(dg.ConfigurableResource):
    """The platform's settings, read from the environment of the run, and the Kafka partitions that it takes."""

    share: str = Field(
        default=str(EVERYTHING),
        description="The Kafka partitions that a micro-batch takes: 0/1 for all of them; 0/2 for those whose number "
        "modulo 2 is 0, beside which another run may take 1/2.",
    )

    def settings(self) -> Settings:
        return load_settings()

    def warehouse(self) -> Warehouse:
        """The warehouse, as every step of a run waits for it."""
        return parts.warehouse(self.settings(), RUN_WAIT_S)

    def taken_share(self) -> Share:
        """The share that the run takes; `UserError` if its text names none."""
        return parse_share(self.share)


@contextmanager
def told_plainly() -> Iterator[None]:
    """A mistake outside the code fails the run, with its sentence: at once, unless it may be gone later by itself.

    Not by a retry policy of the assets: that would try mistakes in the code again, and whatever Ctrl-C has ended.
    """
    try:
        yield
    except TransientError as error:
        raise dg.RetryRequested(TRIES_AGAIN, AGAIN_AFTER_S) from dg.Failure(str(error))
    except UserError as error:
        raise dg.Failure(str(error), allow_retries=False) from None
    except OSError as error:  # a disk that is full, a folder that cannot be written
        why = f"{error.filename or 'operating system'}: {error.strerror or error}"
        raise dg.Failure(why, allow_retries=False) from error
