"""Build the images without a container engine, and try each: as its user, on a read-only root, cut off.

    sudo .venv/bin/python infra/docker/build_and_try.py [TARGET...] [--base IMAGE] [--pip-conf FILE] [--ca FILE]

It takes root on Debian, `apt-get install buildah debootstrap curl`, and the project's environment. Without `--base` it
makes one of Debian's bookworm, as no registry of images may be in reach. It prints sizes, and removes
what it made, with every layer of buildah's that has no name.
"""

import argparse
import os
import subprocess
import tempfile
import time
from pathlib import Path

from contained import image, mounted
from trials import TRIALS

from galmorph import __version__

REPOSITORY = Path(__file__).parents[2]
BASE = "localhost/galmorph-base"
os.environ["BUILDAH_ISOLATION"] = "chroot"


def main() -> None:
    """Do as the command line says."""
    options = _options()
    built: list[str] = []
    try:
        base = options.base or _base()
        for target in options.target or TRIALS:
            built += [_built(target, base, options)]
        size = {name: _megabytes(name) for name in (base, *built)}
        print(*(f"{name}: {megabytes} MB" for name, megabytes in size.items()), sep="\n", flush=True)
        for name in built:
            target = name.removeprefix("localhost/galmorph-")
            with tempfile.TemporaryDirectory(prefix="galmorph-try-") as folder:
                began = time.monotonic()
                TRIALS[target](name, Path(folder))
                print(f"{name}: tried, {time.monotonic() - began:.0f} s")
    finally:
        if not options.keep:
            # Layers in between have no name of their own.
            _run("buildah", "rmi", *built, *([] if options.base else [BASE]), check=False)
            _run("buildah", "rmi", "--prune", check=False)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Build the images with buildah, and try each.")
    # [] is what argparse checks when none is named.
    parser.add_argument("target", nargs="*", choices=[[], *TRIALS], metavar="TARGET", help=", ".join(TRIALS))
    parser.add_argument("--base", help="an image with Python 3.11 that buildah has; else one is made of Debian's")
    parser.add_argument("--pip-conf", type=Path, help="pip's configuration while building, where an index is your own")
    parser.add_argument("--ca", type=Path, help="certificates while building, where the network has one of its own")
    parser.add_argument("--keep", action="store_true", help="leave the images, so that the next build is quick")
    return parser.parse_args()


def _base() -> str:
    """Make the base of Debian's own Python, unless it is there."""
    if _run("buildah", "inspect", "--type", "image", BASE, check=False, stdout=subprocess.DEVNULL) == 0:
        return BASE
    with tempfile.TemporaryDirectory(prefix="galmorph-base-") as folder:
        _run("debootstrap", "--variant=minbase", "--include=ca-certificates", "bookworm", folder)
        _run("chroot", folder, "apt-get", "install", "-qqy", "--no-install-recommends", "python3", "python3-venv")
        _run("chroot", folder, "apt-get", "clean")
        container = _said("buildah", "from", "scratch")
        _run("buildah", "add", "--quiet", container, folder, "/")
        path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        _run("buildah", "config", "--env", f"PATH={path}", container)
        _run("buildah", "commit", "--quiet", "--rm", container, BASE)
    return BASE


def _built(target: str, base: str, options: argparse.Namespace) -> str:
    """Build a target and return its name."""
    name = f"localhost/galmorph-{target}"
    revision = _said("git", "-C", str(REPOSITORY), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*")
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as conf:
        secrets = []
        if options.ca:
            secrets += ["--secret", f"id=ca,src={options.ca}"]
            conf.write("[global]\ncert = /run/secrets/ca\n")
            conf.flush()
        if options.ca or options.pip_conf:
            secrets += ["--secret", f"id=pip_conf,src={options.pip_conf or conf.name}"]
        # Docker's format: OCI's has no health check.
        _run(
            *("buildah", "build", "--layers", "--format", "docker", "--pull-never", "--target", target, "--tag", name),
            *("--build-arg", f"BASE={base}", "--build-arg", f"VERSION={__version__}"),
            *("--build-arg", f"REVISION={revision}", *secrets),
            *("--file", str(REPOSITORY / "infra/docker/Dockerfile"), str(REPOSITORY)),
        )  # fmt: skip
    labels = image(name).config["Labels"]
    if labels["org.opencontainers.image.revision"] != revision:
        raise RuntimeError(f"{name}: must be labelled with its commit, {revision}. Received: {labels}")
    return name


def _megabytes(name: str) -> int:
    """Return what an image's files take."""
    with mounted(name) as root:
        return int(_said("du", "--summarize", "--block-size=MB", str(root.path)).split("MB")[0])


def _said(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def _run(*command: str, check: bool = True, stdout: int | None = None) -> int:
    print("$", *command, flush=True)
    return subprocess.run(command, check=check, stdout=stdout).returncode


if __name__ == "__main__":
    main()
