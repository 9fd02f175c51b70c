"""Every error galmorph raises on purpose.

Each message names the file, the row or key where there is one, and the remedy, and ends with what was received.
Catch `GalmorphError` to catch them all::

    GalmorphError
    ├── ParamsError             a parameter file has an unknown key, a missing one or a wrong type
    ├── InputError              something that was handed in cannot be used
    │   ├── CatalogueError      a label file or catalogue: missing column, contradicting rows, one class only
    │   ├── ArchiveError        a folder, zip or tar of images: missing, unsafe or unreadable
    │   └── ImageError          one image: not an image, truncated, too large, blank
    │       └── TooManyPixelsError  larger than what may be decoded
    ├── DownloadError           the cutout service could not be used at all
    ├── DataValidationError     the data as a whole failed validation
    ├── SplitError              the galaxies cannot be split as asked
    ├── ModelError              a model file or a layer of it is not what was asked for
    ├── TrainingError           training cannot start or go on
    ├── OutOfMemoryError        memory ran out: the message names what to lower
    ├── TuningError             a study cannot be begun, joined or gone on with
    ├── TrialError              one trial of a study failed: it is recorded, and the study goes on
    ├── UpstreamError           DVC could not make what a command builds on
    ├── TrackingError           MLflow cannot be used as asked
    ├── PromotionError          a version cannot be promoted or taken back as asked
    │   └── PromotionRefused    the gate said no; the command ends with 3, not with 1
    ├── BackupError             the registry cannot be backed up or restored as asked
    ├── SubmissionError         Kubeflow Pipelines does not take a run as asked
    ├── RunError                a run on Kubeflow Pipelines did not succeed
    └── StorageError            nothing could be written: no space left, no permission
"""


class GalmorphError(Exception):
    """Base class of every error that galmorph raises on purpose."""

    #: What the command line ends with.
    status = 1


class ParamsError(GalmorphError):
    """A parameter file has an unknown key, a missing one or a wrong type."""


class InputError(GalmorphError):
    """Something that was handed in cannot be used."""


class CatalogueError(InputError):
    """A label file or catalogue cannot be used."""


class ArchiveError(InputError):
    """A folder, zip or tar of images cannot be used."""


class ImageError(InputError):
    """One image cannot be used; the galaxy is quarantined with this message."""


class TooManyPixelsError(ImageError):
    """One image is larger than what may be decoded."""


class DownloadError(GalmorphError):
    """The cutout service could not be used at all."""


class DataValidationError(GalmorphError):
    """The data as a whole failed validation."""


class SplitError(GalmorphError):
    """The galaxies cannot be split as asked."""


class ModelError(GalmorphError):
    """A model file, or a layer of it, is not what was asked for."""


class TrainingError(GalmorphError):
    """Training cannot start or go on."""


class OutOfMemoryError(GalmorphError):
    """Memory ran out, the machine's or the GPU's; the message names what to lower."""


class TuningError(GalmorphError):
    """A study cannot be begun, joined or gone on with."""


class TrialError(GalmorphError):
    """One trial of a study failed: it is recorded, and the study goes on."""


class UpstreamError(GalmorphError):
    """DVC could not make what a command builds on."""


class TrackingError(GalmorphError):
    """MLflow cannot be used as asked."""


class PromotionError(GalmorphError):
    """A version cannot be promoted or taken back as asked."""


class PromotionRefused(PromotionError):  # noqa: N818 - nothing went wrong
    """The gate said no: whoever runs promotion in a script can tell that from something that went wrong."""

    status = 3


class BackupError(GalmorphError):
    """The registry cannot be backed up, or restored, as asked."""


class SubmissionError(GalmorphError):
    """Kubeflow Pipelines cannot be reached, or does not take a run as asked."""


class RunError(GalmorphError):
    """A run on Kubeflow Pipelines did not succeed."""


class StorageError(GalmorphError):
    """Nothing could be written: no space left, or no permission."""
