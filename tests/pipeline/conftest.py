"""One run of the whole pipeline that the tests of this folder look at."""

import pytest

from tests.project import Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project after `dvc repro`. Tests leave its parameters and results as they were."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.dvc("repro")
    return project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the finished project, so that it is made in one process of several."""
    for item in items:
        if "finished" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.project)
