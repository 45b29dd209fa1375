"""One tenant for all tests that want one on disk; each works on a copy of its own."""

from pathlib import Path

import pytest
from integration.deployment import Deployment


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    return Deployment.make(tmp_path_factory.mktemp("template"))


@pytest.fixture
def deployment(template: Deployment, tmp_path: Path) -> Deployment:
    return template.copy(tmp_path)
