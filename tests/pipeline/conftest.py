"""One run of the whole pipeline that the tests of this folder look at."""

import pytest

from tests.project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project after `dvc repro`. Tests leave its parameters and results as they were."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.dvc("repro")
    return project
