"""Fill data/variants/<variant>, and tell how well it went."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from pydantic import TypeAdapter, ValidationError

from galmorph import parallel, storage
from galmorph.data.identity import data_digest
from galmorph.errors import ImageError, InputError
from galmorph.params import DenoiserParams

if TYPE_CHECKING:  # the denoisers' libraries are loaded where they are used
    from galmorph.data.denoise import Quality
    from galmorph.data.denoise_sheet import Panel


@dataclass(frozen=True)
class Denoised:
    """What is known of a denoised image: its file's SHA-256, and its quality where the noise-free truth is kept."""

    sha256: str
    before: "Quality | None"
    after: "Quality | None"


def fingerprint(galaxies: pd.DataFrame, params: DenoiserParams, variant: str) -> str:
    """Name the work of denoising these galaxies with these parameters."""
    digest = data_digest(galaxies["CATAID"], galaxies["label"], galaxies["sha256"])
    return storage.fingerprint("denoise", variant, params.model_dump(mode="json"), digest)


def fill(folder: Path, raw: Path, galaxies: pd.DataFrame, params: DenoiserParams, variant: str) -> list[Denoised]:
    """Write `<CATAID>.png` into `folder` for each galaxy, going on with what is there.

    Parameters
    ----------
    folder
        Where the denoised images go, and those of an interrupted run of the same work lie.
    raw
        Folder with `images` and, where it was kept, `noise_free`.
    galaxies
        The accepted rows of the manifest.
    params, variant
        The denoiser, and the name of what it makes.

    Returns
    -------
    list of Denoised
        In the order of `galaxies`.

    Raises
    ------
    ImageError
        When an image is not the one that was validated.
    InputError
        When there is no galaxy.
    """
    if galaxies.empty:
        raise InputError(
            "No galaxy to denoise: validation accepted none. The manifest's column `reasons` says why of each row. "
            "Received: 0 accepted galaxies"
        )
    for leftover in folder.glob(".*.partial.png"):  # of a worker that was killed while it wrote
        leftover.unlink()
    work = list(zip(galaxies["CATAID"], galaxies["sha256"], strict=True))
    return list(parallel.map_ordered(partial(_denoise_one, folder, raw, params), work, f"denoise {variant}"))


def _denoise_one(folder: Path, raw: Path, params: DenoiserParams, galaxy: tuple[str, str]) -> Denoised:
    from galmorph.data.denoise import denoise, quality

    cataid, validated = galaxy
    source = storage.image_path(raw / "images", cataid)
    target = storage.image_path(folder, cataid)
    image = storage.read_image(source)
    if not target.exists():
        received = storage.digest_file(source)
        if received != validated:
            raise ImageError(
                f"{source}: the file has changed since it was validated. Run validate again (`dvc repro` does). "
                f"Received: SHA-256 {received}, validated was {validated}"
            )
        storage.write_image(target, denoise(image, params))
    truth_path = storage.image_path(raw / "noise_free", cataid)
    if not truth_path.exists():
        return Denoised(storage.digest_file(target), None, None)
    truth = storage.read_image(truth_path)
    return Denoised(storage.digest_file(target), quality(image, truth), quality(storage.read_image(target), truth))


def card(galaxies: pd.DataFrame, denoised: Sequence[Denoised], params: DenoiserParams, variant: str) -> dict[str, Any]:
    """Describe a variant: what it holds, and how it compares with the noise-free truth where that is kept.

    Parameters
    ----------
    galaxies
        The accepted rows of the manifest.
    denoised
        What `fill` returned for them.
    params, variant
        The denoiser, and the name of what it made.

    Returns
    -------
    dict
        `variant`, `denoiser` (its parameters, for whoever must denoise other images in the same way), `images`,
        `digest` over (CATAID, label, SHA-256 of the denoised file); with truth also `measured` (galaxies that have
        it), `psnr` (dB) and `ssim`, each with `noisy` and `denoised`: mean, 5th and 95th percentile over the galaxies.
    """
    content: dict[str, Any] = {
        "variant": variant,
        "denoiser": params.model_dump(mode="json"),
        "images": len(galaxies),
        "digest": data_digest(galaxies["CATAID"], galaxies["label"], (image.sha256 for image in denoised)),
    }
    before = [image.before for image in denoised if image.before]
    after = [image.after for image in denoised if image.after]
    if before and after:
        content["measured"] = len(before)
        for measure in ("psnr", "ssim"):
            content[measure] = {
                "noisy": _summary(getattr(found, measure) for found in before),
                "denoised": _summary(getattr(found, measure) for found in after),
            }
    return content


def denoiser_of(card: Path) -> DenoiserParams | None:
    """Return the denoiser that made a variant, with its parameters, as the variant's card tells; None for `raw`."""
    content = storage.read_json(card)
    if "denoiser" not in content and content.get("variant", "raw") == "raw":
        return None
    try:
        denoiser: DenoiserParams = TypeAdapter(DenoiserParams).validate_python(content.get("denoiser"))
    except ValidationError as error:
        raise InputError(
            f"{card}: does not tell which denoiser made the variant. Make it again: galmorph denoise {card.stem} (or "
            f"`dvc repro`). Received: {content.get('denoiser')!r}"
        ) from error
    return denoiser


def _summary(values: Iterable[float]) -> dict[str, float]:
    measured = np.array(list(values))
    low, high = np.percentile(measured, [5, 95])
    return {"mean": round(float(measured.mean()), 4), "p5": round(float(low), 4), "p95": round(float(high), 4)}


def write_report(
    report: Path, folder: Path, raw: Path, galaxies: pd.DataFrame, denoised: Sequence[Denoised], variant: str
) -> None:
    """Write `sheet.png`, a few galaxies before and after, into the folder `report`."""
    from galmorph.data.denoise_sheet import choose, draw

    found = dict(zip(galaxies["CATAID"], denoised, strict=True))
    panels = [_panel(folder, raw, row, found[row["CATAID"]]) for _, row in choose(galaxies).iterrows()]
    with storage.output_folder(report) as out:
        draw(panels, variant).savefig(out / "sheet.png")


def _panel(folder: Path, raw: Path, row: "pd.Series[Any]", denoised: Denoised) -> "Panel":
    from galmorph.data.denoise_sheet import Panel

    truth = storage.image_path(raw / "noise_free", row["CATAID"])
    return Panel(
        cataid=row["CATAID"],
        label=row["label"],
        radius=float(row["radius_pixels"]),
        original=storage.read_image(storage.image_path(raw / "images", row["CATAID"])),
        denoised=storage.read_image(storage.image_path(folder, row["CATAID"])),
        truth=storage.read_image(truth) if truth.exists() else None,
        before=denoised.before,
        after=denoised.after,
    )
