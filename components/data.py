"""Components of the data: from galaxies to splits and denoised images."""

from kfp.dsl import HTML, Artifact, Dataset, Input, Output

from components.base import component


@component
def pull_data(raw: Output[Dataset], repository: str, revision: str) -> str:
    """Get the galaxies of a git revision from its DVC remote."""
    from galmorph.cluster.revisions import pull_data

    return pull_data(repository, revision, raw)


@component
def acquire(raw: Output[Dataset], acquire_params: dict) -> None:
    """Simulate or fetch galaxies: a catalogue and an image each."""
    from galmorph.cluster.running import run_stage

    run_stage("acquire", [], {"raw": raw}, {"acquire": acquire_params})


@component
def validate(
    raw: Input[Dataset],
    manifest: Output[Dataset],
    card: Output[Artifact],
    report: Output[Artifact],
    page: Output[HTML],
    validate_params: dict,
) -> None:
    """Measure every image, quarantine what cannot be used, and stop when the data as a whole is not fit."""
    from galmorph.cluster.running import run_stage

    outputs = {"manifest": manifest, "card": card, "report": report}
    run_stage("validate", [raw], outputs, {"validate": validate_params}, views={"page": page})


@component
def split(manifest: Input[Dataset], splits: Output[Dataset], split_params: dict) -> None:
    """Assign each accepted galaxy to train, validation or test."""
    from galmorph.cluster.running import run_stage

    run_stage("split", [manifest], {"splits": splits}, {"split": split_params})


@component
def denoise(
    raw: Input[Dataset],
    manifest: Input[Dataset],
    images: Output[Dataset],
    card: Output[Artifact],
    report: Output[Artifact],
    denoise_params: dict,
    variant: str,
) -> None:
    """Denoise every accepted image with one denoiser."""
    from galmorph.cluster.running import run_stage

    outputs = {"images": images, "card": card, "report": report}
    run_stage("denoise", [raw, manifest], outputs, {"denoise": denoise_params}, row=variant)


@component
def collect_variants(
    card: Input[Artifact], images: Input[list[Dataset]], cards: Input[list[Artifact]], variants: Output[Dataset]
) -> None:
    """Put the images and cards of all variants into one artifact."""
    from galmorph.cluster.running import collect_variants

    collect_variants([card, *images, *cards], variants)
