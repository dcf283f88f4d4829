"""The measuring actor in a real Ray: shared by all who measure on a device, and what happens when it breaks."""

import contextlib
import os
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from foundation.errors import UserError
from search import remote_judge, workers
from search.roles import JudgementError
from search.stages import Bench

BENCH = Bench(
    data="bundled",
    hardware="cpu",
    image_size=64,
    batch=1,
    train_batch=1,
    seed=0,
    threads=1,
    folder="",
    target_ms=5.0,
    device="cpu",
)


class BreakableJudge(remote_judge._Judge):
    """In place of the real one: does what the candidate says."""

    def latency(self, candidate):
        if candidate["do"] == "crash":
            os._exit(1)
        if candidate["do"] == "hang":
            time.sleep(60)
        if candidate["do"] == "take a while":
            time.sleep(1.2)
        if candidate["do"] == "fail":
            raise ValueError("no such kernel")
        return {"pid": os.getpid()}

    def deployed(self, folder):
        return {"pid": os.getpid(), "folder": folder}


@pytest.fixture(scope="module")
def session():
    with workers.ray_session(None, 1, "cpu"):
        yield


@pytest.fixture
def judge(session, monkeypatch):
    monkeypatch.setattr(remote_judge, "_Judge", BreakableJudge)
    monkeypatch.setattr(remote_judge, "JUDGEMENT_TIMEOUT_S", 60.0)
    return remote_judge.RemoteJudge(BENCH)


def test_all_who_measure_on_a_device_share_one_process_that_holds_it(judge):
    import ray

    pid = judge({"do": "measure"})["pid"]
    worker = remote_judge.RemoteJudge(BENCH)
    assert worker.deployed("folder") == {"pid": pid, "folder": "folder"}
    assert ray.available_resources().get("device:cpu", 0) == 0


def test_a_failure_a_crash_and_a_hang_fail_one_candidate_each(judge, monkeypatch):
    pid = judge({"do": "measure"})["pid"]
    with pytest.raises(JudgementError, match="no such kernel"):
        judge({"do": "fail"})
    assert judge({"do": "measure"})["pid"] == pid
    with pytest.raises(JudgementError, match="died"):
        judge({"do": "crash"})
    second = judge({"do": "measure"})["pid"]
    assert second != pid
    monkeypatch.setattr(remote_judge, "JUDGEMENT_TIMEOUT_S", 1.0)
    with pytest.raises(JudgementError, match="hung"):
        judge({"do": "hang"})
    monkeypatch.setattr(remote_judge, "JUDGEMENT_TIMEOUT_S", 60.0)
    assert judge({"do": "measure"})["pid"] not in (pid, second)


def test_waiting_for_ones_turn_is_not_hanging(judge, monkeypatch):
    pid = judge({"do": "measure"})["pid"]
    monkeypatch.setattr(remote_judge, "JUDGEMENT_TIMEOUT_S", 2.0)
    with ThreadPoolExecutor(4) as askers:
        answers = list(
            askers.map(lambda _: remote_judge.RemoteJudge(BENCH)({"do": "take a while"}), range(4))
        )
    assert [answer["pid"] for answer in answers] == [pid] * 4


def test_a_cluster_without_the_device_says_how_to_offer_it(session, monkeypatch):
    import ray

    monkeypatch.setattr(ray, "init", lambda **options: None)  # as if the running cluster had been joined
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    with (
        pytest.raises(UserError, match=r"offers the device .* --resources='\{\"device:cuda:0\": 1\}'"),
        workers.ray_session("somewhere:6379", 1, "cuda:0"),
    ):
        pass


def test_a_worker_replaces_a_dead_one_although_its_own_share_lacks_the_device(session):
    import ray
    from ray.util.placement_group import placement_group, remove_placement_group
    from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

    with contextlib.suppress(ValueError):  # no such actor
        ray.kill(ray.get_actor("measuring on cpu"))
    share = placement_group([{"CPU": 1}])  # as Tune sets one aside for a trial
    inside = PlacementGroupSchedulingStrategy(share, 0, placement_group_capture_child_tasks=True)

    def ask():
        try:
            remote_judge.RemoteJudge(BENCH).deployed("/nowhere")
        except UserError as error:
            return str(error)

    try:
        asked = ray.remote(num_cpus=1, max_retries=0, scheduling_strategy=inside)(ask).remote()
        assert "/nowhere" in ray.get(asked, timeout=60)
    finally:
        remove_placement_group(share)
