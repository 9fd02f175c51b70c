"""Run what is in an image, without a container engine: read-only root, the image's own user and environment.

Stricter than `docker run`: everything is read-only but /tmp and what the image declares as VOLUME, the network is a
loopback of its own, and nothing of this machine's environment comes along. It takes root, buildah and util-linux.
"""

import contextlib
import json
import os
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

#: $1 root, $2 user, $3 working folder, $4 volumes and $5 bind mounts by line, then variables and the command.
_ENTER = r"""
set -eu
root=$1 user=$2 folder=$3 volumes=$4 binds=$5; shift 5
ip link set lo up
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
for volume in $volumes; do mount -t tmpfs -o "uid=${user%:*},gid=${user#*:},mode=700" tmpfs "$root$volume"; done
for bind in $binds; do
  inside=$root${bind#*:}
  case $inside in "$root"/tmp/*) mkdir -p "$inside" ;; esac
  mount --bind "${bind%%:*}" "$inside"
done
printf '127.0.0.1 localhost\n' > "$root/tmp/hosts"
mount --bind "$root/tmp/hosts" "$root/etc/hosts"
exec chroot --userspec="$user" "$root" env -i --chdir="$folder" "$@"
"""


class Image(NamedTuple):
    """What an image says about itself.

    Attributes
    ----------
    name
        As buildah knows it.
    config
        Its OCI configuration: `User`, `Env`, `Entrypoint`, `Cmd`, `Volumes`, `WorkingDir`, `Healthcheck`, `Labels`.
    """

    name: str
    config: dict[str, Any]

    @property
    def volumes(self) -> list[str]:
        """Where it may write."""
        return sorted(self.config.get("Volumes") or {})

    @property
    def command(self) -> list[str]:
        """What it runs when it is not told otherwise."""
        return [*(self.config.get("Entrypoint") or []), *(self.config.get("Cmd") or [])]

    @property
    def health(self) -> list[str]:
        """The command that asks whether it is well."""
        kind, *command = self.config["Healthcheck"]["Test"]
        if kind != "CMD":
            raise ValueError(f"{self.name}: a health check without a shell is wanted. Received: {kind}")
        return list(command)


def image(name: str) -> Image:
    """Read an image's configuration."""
    said = json.loads(_output("buildah", "inspect", "--type", "image", name))
    return Image(name, said["Docker"]["config"])


class Root:
    """An image's files, mounted."""

    def __init__(self, image: Image, path: Path) -> None:
        self.image, self.path = image, path

    def run(self, command: Sequence[str], binds: Mapping[Path, str] | None = None, **environment: str) -> str:
        """Run a command to its end and return what it printed.

        Parameters
        ----------
        command
            With its arguments; the image's entry point is not put before it.
        binds
            Where folders of this machine are mounted: over a volume, or below /tmp.
        **environment
            Beside the image's.

        Raises
        ------
        RuntimeError
            When it ends with another status than 0.
        """
        done = subprocess.run(
            self._enter(command, binds or {}, environment),
            check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        if done.returncode:
            raise RuntimeError(
                f"{self.image.name}: `{' '.join(command)}` ended with {done.returncode}. Received:\n{done.stdout}"
            )
        return done.stdout

    @contextlib.contextmanager
    def running(
        self, command: Sequence[str], binds: Mapping[Path, str], log: Path, **environment: str
    ) -> Iterator["Running"]:
        """Run a server until the block ends, and then as a scheduler does: SIGTERM, and an end with status 0."""
        with log.open("w") as output:
            process = subprocess.Popen(
                self._enter(command, binds, environment), stdout=output, stderr=output, start_new_session=True
            )
        try:
            yield Running(self, process, log)
            os.killpg(process.pid, signal.SIGTERM)
            if status := process.wait(60):
                raise RuntimeError(
                    f"{self.image.name}: did not end well when it was told to (SIGTERM). Received: {status}\n"
                    f"{log.read_text()[-2000:]}"
                )
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    def _enter(self, command: Sequence[str], binds: Mapping[Path, str], environment: Mapping[str, str]) -> list[str]:
        config = self.image.config
        volumes = [volume for volume in self.image.volumes if volume not in binds.values()]
        variables = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
        return [
            *("unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--", "sh", "-c", _ENTER, "enter"),
            *(str(self.path), config["User"], config.get("WorkingDir") or "/", "\n".join(volumes)),
            "\n".join(f"{outside}:{inside}" for outside, inside in binds.items()),
            *variables, *command,
        ]  # fmt: skip


class Running:
    """A server that runs in an image."""

    def __init__(self, root: Root, process: subprocess.Popen[bytes], log: Path) -> None:
        self.root, self.process, self.log = root, process, log

    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.process.poll() is None

    def inside(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        """Run a command beside it, as `docker exec` does."""
        config = self.root.image.config
        other = ["chroot", f"--userspec={config['User']}", str(self.root.path), "env", "-i", *config["Env"], *command]
        return self._entered(["--mount", "--pid"], other)

    def ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run this machine's curl in its network."""
        return self._entered([], ["curl", "--silent", "--show-error", *arguments])

    def _entered(self, more: Sequence[str], command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        [child] = _output("pgrep", "--parent", str(self.process.pid)).split()
        return subprocess.run(
            ["nsenter", f"--target={child}", "--net", *more, "--", *command],
            check=False, capture_output=True, text=True,
        )  # fmt: skip


@contextlib.contextmanager
def mounted(name: str) -> Iterator[Root]:
    """Mount an image's files until the block ends."""
    container = _output("buildah", "from", "--pull-never", name)
    try:
        yield Root(image(name), Path(_output("buildah", "mount", container)))
    finally:
        _output("buildah", "rm", container)


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.strip()
