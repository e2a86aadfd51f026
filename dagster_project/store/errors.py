"""What can go wrong in the warehouse, told to the user."""


class StoreError(Exception):
    """The message says what was found, where, what was expected and what to do next. Trying again does not help."""


class WarehouseBusyError(StoreError):
    """Somebody else has the warehouse open or locked. Trying again later helps."""


class LockTimeoutError(WarehouseBusyError):
    """Another run held the write lock for longer than the settings let us wait."""


class PublishError(StoreError):
    """Nothing was published; the snapshot that was published before is untouched."""


class PublishDiskError(PublishError, OSError):
    """Nothing was published, because of the disk: trying again may help."""
