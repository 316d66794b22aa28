"""Stages are timed and counted for the call at hand."""

import asyncio

import pytest
from prometheus_client import CollectorRegistry

from services.runtime import stages
from services.runtime.stages import StageMetrics, Stages, stage


class World:
    def __init__(self):
        self.registry = CollectorRegistry()
        stages.enter_call(StageMetrics(self.registry, "gateway"))

    def value(self, name, what="duration_seconds_count"):
        return self.registry.get_sample_value(f"hemaserve_stage_{what}", {"stage": name})


async def test_outside_of_calls_a_stage_is_nobodys():
    with stage("read"):
        pass


async def test_a_stage_counts_once_and_its_failure_too():
    world = World()
    with stage("read"):
        pass
    with pytest.raises(ValueError, match="no"), stage("read"):
        raise ValueError("no")
    assert world.value("read") == 2
    assert world.value("read", "failed_total") == 1


async def test_a_cancelled_stage_has_not_failed():
    world = World()
    with pytest.raises(asyncio.CancelledError), stage("read"):
        raise asyncio.CancelledError
    assert world.value("read") == 1
    assert world.value("read", "failed_total") == 0


async def test_stages_in_a_row_end_where_the_next_one_begins():
    world = World()

    def go_on_and_fail():
        with Stages("detect") as row:
            row.go_on("detect")
            assert world.value("detect") == 0
            row.go_on("classify")
            assert world.value("detect") == 1
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        go_on_and_fail()
    assert world.value("detect", "failed_total") == 0
    assert world.value("classify", "failed_total") == 1
