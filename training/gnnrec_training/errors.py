"""The errors of training; every message says what, which, and what to do next."""


class TrainingError(Exception):
    """Base of all errors of this package."""


class InvalidConfig(TrainingError):
    """The configuration file is missing, unreadable or says something impossible."""


class InvalidData(TrainingError):
    """A data file is missing, unreadable or holds a bad row; the message names it."""


class TrainingDiverged(TrainingError):
    """The loss is no longer a finite number."""


class InvalidCheckpoint(TrainingError):
    """A checkpoint cannot be read."""


class Interrupted(KeyboardInterrupt):
    """A person stopped a training; the message says what is kept of it."""


class InsufficientMemory(TrainingError):
    """The training would need more memory than there is."""


class ExportFailed(TrainingError):
    """A model gives other results in its exported form than in torch."""
