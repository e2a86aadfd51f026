"""What can go wrong in the warehouse, told to the user."""

from collections.abc import Mapping


class WarehouseError(Exception):
    """The root of every error of ours, for a person who can put it right.

    The message says what was found, where, what was expected and what to do next: commands print it without a
    traceback. The libraries of statistics (`stats`) know no warehouse and raise `ValueError`.
    """


class StoreError(WarehouseError):
    """The store has not what was asked of it, or cannot take what it was given. Trying again does not help."""


class WarehouseBusyError(StoreError):
    """Somebody else has the warehouse open or locked. Trying again later helps."""


class LockTimeoutError(WarehouseBusyError):
    """Another run held the write lock for longer than the settings let us wait."""


class PublishError(StoreError):
    """Nothing was published; the snapshot that was published before is untouched."""


class PublishDiskError(PublishError, OSError):
    """Nothing was published, because of the disk: trying again may help."""


class PublishedIdentifierError(PublishError):
    """Nothing was published: columns of the new snapshot hold direct identifiers of learners, or bear their names.

    Attributes:
        columns: how many different values of each ("schema.table.column") hold one; None where only its name says so.
            The identifiers themselves stand nowhere, the message included.
    """

    def __init__(self, message: str, columns: Mapping[str, int | None]) -> None:
        super().__init__(message)
        self.columns = dict(columns)


class DbtError(WarehouseError, RuntimeError):
    """A model could not be built, or a test of the data failed; the message names each with what dbt says."""
