"""A copy of the working tree to run the real tools in, small enough for a test."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[1]
#: With these TensorFlow adds up in the same order each time, so that two trainings can be compared.
ONE_THREAD = {"TF_NUM_INTRAOP_THREADS": "1", "TF_NUM_INTEROP_THREADS": "1"}


class Project:
    """A clone with the small profile, as a user would have it: committed, and with nothing made yet."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        listed = self._git("ls-files", "--cached", "--others", "--exclude-standard", "-z", cwd=REPOSITORY)
        for name in filter(None, listed.split("\0")):
            if (REPOSITORY / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(REPOSITORY / name, folder / name)
        self._git("init", "--quiet")
        self.galmorph("profile", "tests/small.yaml")
        self.commit("Start")

    @classmethod
    def at(cls, folder: Path) -> "Project":
        """A project that is there already."""
        project = cls.__new__(cls)
        project.folder = folder
        return project

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a user's shell with the project's tools on the path, and no run or store named."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GALMORPH_"))}
        return {
            **kept,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "DVC_NO_ANALYTICS": "1",
            # The clone's code, whichever copy is installed.
            "PYTHONPATH": str(self.folder / "src"),
        }

    def run(self, *command: str, check: bool = True, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the clone; its output is in the error when it fails."""
        done = subprocess.run(
            command,
            cwd=self.folder,
            env={**self.environment, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        if check and done.returncode:
            raise AssertionError(f"{' '.join(command)} failed:\n{done.stdout[-4000:]}\n{done.stderr[-6000:]}")
        return done

    def galmorph(self, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run `galmorph`."""
        return self.run(sys.executable, "-m", "galmorph", *arguments, check=check)

    def dvc(self, *arguments: str, check: bool = True, **environment: str) -> str:
        """Run `dvc` and return what it printed."""
        done = self.run(sys.executable, "-m", "dvc", *arguments, check=check, **environment)
        return done.stdout + done.stderr

    def commit(self, message: str) -> None:
        """Commit everything."""
        self._git("add", "--all")
        self._git("-c", "user.name=test", "-c", "user.email=test@localhost", "commit", "--quiet", "-m", message)

    def git(self, *arguments: str) -> str:
        """Run `git` and return what it printed."""
        return self._git(*arguments)

    def _git(self, *arguments: str, cwd: Path | None = None) -> str:
        return subprocess.run(
            ["git", *arguments], cwd=cwd or self.folder, check=True, capture_output=True, text=True
        ).stdout
