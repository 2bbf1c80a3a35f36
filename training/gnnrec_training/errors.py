"""What can go wrong in training; every message says what, which, and what to do next."""


class TrainingError(Exception):
    """Base of all errors of this package."""


class InvalidConfig(TrainingError):
    """The configuration file is missing, unreadable or says something impossible."""


class InvalidData(TrainingError):
    """A data file is missing, unreadable or holds a bad row; the message names it."""


class TrainingDiverged(TrainingError):
    """The loss is no longer a finite number."""


class InvalidCheckpoint(TrainingError):
    """A checkpoint cannot be read, or belongs to another training."""


class Interrupted(KeyboardInterrupt):
    """Somebody stopped a training; the message says what is kept of it."""


class InsufficientMemory(TrainingError):
    """The training would need more memory than there is."""


class ExportFailed(TrainingError):
    """A trained model does not come out of its exported form as it went in."""
