"""On one folder of the embedded log: tenants side by side, and shards of SU as processes."""

from pathlib import Path

import pytest
from integration.deployment import Deployment
from integration.sharded import kill_a_shard_in_mid_query
from integration.tenants_apart import check_tenants_apart

from schemas.reasons import ExitCode


async def test_tenants_share_a_folder(tmp_path: Path) -> None:
    await check_tenants_apart(tmp_path, f"log:{tmp_path / 'topics'}")


@pytest.mark.slow
def test_a_killed_shard_is_taken_over(deployment: Deployment) -> None:
    kill_a_shard_in_mid_query(deployment, keep_ledgers=True)


@pytest.mark.slow
def test_shards_that_overlap_exclude_each_other(deployment: Deployment) -> None:
    with deployment.unit("su", "--shard", "1/2"), deployment.unit("su", "--shard", "2/4"):
        for shard in ("1/2", "1/1"):
            ended = deployment.start("su", "--shard", shard).ended()
            assert (ended.code, ended.object["code"]) == (ExitCode.CONFIGURATION, "invalid_config"), shard
    refused = deployment.start("su", "--shard", "3/2").ended()
    assert refused.code == ExitCode.USAGE
