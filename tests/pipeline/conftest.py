"""One run of the whole pipeline that the tests of this folder look at."""

import pytest

from tests.project import ONE_THREAD, Project


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Project:
    """A project after `dvc repro`. Tests leave its parameters and results as they were."""
    project = Project(tmp_path_factory.mktemp("project"))
    project.dvc("repro", **ONE_THREAD)
    return project


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs the finished project or the exported model, so that each is made in one process of several."""
    for item in items:
        for fixture, marker in (("finished", "project"), ("exported_model", "service")):
            if fixture in getattr(item, "fixturenames", ()):
                item.add_marker(marker)
                break
