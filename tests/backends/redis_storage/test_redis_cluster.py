"""Records in a real Redis Cluster of six nodes, and in a Valkey one."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from real_cluster import PATIENCE, Cluster, cluster_of, free_ports
from real_redis import COMMANDS, HOUR, SECRET, Server, plus_one, progress

from pytest_aistorage import (
    ConfigurationError,
    CorruptStorageError,
    OutcomeUnknownError,
    ProgressQuery,
    RedisClusterStorage,
    RedisStorage,
    StorageUnavailableError,
    VersionConflictError,
    open_storage,
)
from pytest_aistorage.backends._redis_cluster import partition_of, slot_of, tags


@pytest.fixture(scope="module")
def cluster(program: str) -> Iterator[Cluster]:
    """A cluster that stays as it is."""
    with cluster_of(program) as started:
        yield started


@pytest.fixture
def spread(cluster: Cluster, prefix: str) -> Iterator[RedisClusterStorage]:
    """An empty storage in it."""
    with RedisClusterStorage(cluster.url, prefix=prefix, timeout=PATIENCE) as opened:
        yield opened


def slot_of_model(name: str) -> int:
    """The slot of all that is kept of a model."""
    return slot_of(f"{{{tags()[partition_of(name)]}}}")


def names_in_turn(number: int) -> list[str]:
    """Names of models in as many partitions."""
    found: dict[int, str] = {}
    candidates = (f"m{i}" for i in range(100_000))
    while len(found) < number:
        name = next(candidates)
        found.setdefault(partition_of(name), name)
    return list(found.values())


def test_slots_are_those_of_the_server(cluster: Cluster) -> None:
    """Also where a hash tag is empty, not closed, or nested."""
    for key in ("", "a", "{a}b", "a{b}c}", "{}a", "a{", "{{a}}b", "ä{ü}", f"p:{{{tags()[7]}}}:record:m"):
        assert slot_of(key) == cluster.nodes[0].say("CLUSTER KEYSLOT", key)


def test_partitions_belong_to_the_format() -> None:
    """Stores that are there must be found again: one partition in each stretch of 64 slots, always the same."""
    assert [slot_of(tag) // 64 for tag in tags()] == list(range(256))
    assert tags()[:4] == ("460", "14", "278", "10")
    assert [partition_of(name) for name in ("resnet", "m", "ä")] == [157, 244, 217]


def test_models_are_spread_and_found(spread: RedisClusterStorage, cluster: Cluster, prefix: str) -> None:
    """Each master has its share, and every operation sees all of them, in order."""
    names = sorted(f"model {i}" for i in range(300))
    saved = spread.save_many(progress(name) for name in reversed(names))
    assert [record.model_name for record in saved] == names[::-1]
    for node in cluster.masters:
        with node.client() as client:
            assert 50 < sum(1 for _ in client.scan_iter(f"{prefix}*record:*", count=1000)) < 150
    assert [record.model_name for record in spread.load_progress()] == names
    for size in (1, 1000, 100_000):
        assert [record.model_name for record in spread.iter_progress(batch_size=size)] == names
    query = ProgressQuery(name_prefix="model 2", order_by="-model_name", limit=3)
    assert [record.model_name for record in spread.query_progress(query)] == names[222:219:-1]
    info = spread.get_storage_info()
    assert (info.type, info.model_count, info.server.split()[0]) == (
        "redis",
        300,
        cluster.product,
    )
    assert spread.health_check()


def test_a_model_s_operations_are_those_of_one_server(spread: RedisClusterStorage) -> None:
    """Versions, compare-and-set, update, expiry and delete, with versions that go on."""
    assert spread.save_progress(progress(), ttl=HOUR).version == 1
    assert spread.update_progress("m", plus_one).version == 2
    with pytest.raises(VersionConflictError) as caught:
        spread.save_progress(progress(), expected_version=1)
    assert (caught.value.expected, caught.value.actual) == (1, 2)
    assert spread.expire_now("m")
    assert spread.get_progress("m") is None
    assert spread.save_progress(progress(), expected_version=0).version == 4
    assert spread.delete_progress("m", expected_version=4) == 5
    assert spread.delete_progress("m") is None


def test_a_batch_says_when_a_part_of_it_is_there(
    spread: RedisClusterStorage, cluster: Cluster, prefix: str
) -> None:
    """What fails first fails alone; what fails later leaves the batch's outcome unknown."""
    sound, broken = names_in_turn(2)
    spoil(cluster, spread, broken)
    with pytest.raises(CorruptStorageError):
        spread.save_many([progress(broken), progress(sound)])
    assert spread.get_progress(sound) is None
    with pytest.raises(OutcomeUnknownError, match="1 of 2 records"):
        spread.save_many([progress(sound), progress(broken)])
    assert spread.get_progress(sound) is not None


def spoil(cluster: Cluster, storage: RedisClusterStorage, name: str) -> None:
    """Put something else into the key of a model's record."""
    storage.save_progress(progress(name))
    slot = slot_of_model(name)
    node = cluster.owner(slot)
    for key in node.say("CLUSTER GETKEYSINSLOT", slot, 1000):
        if key.endswith(f"record:{name}"):
            node.say("DEL", key)
            node.say("HSET", key, "a", "b")


def test_while_a_slot_moves_reads_are_answered_and_writes_wait(
    spread: RedisClusterStorage, cluster: Cluster, prefix: str
) -> None:
    """ASK and TRYAGAIN: nothing is written twice or lost between two nodes, nothing listed by halves."""
    spread.save_progress(progress())
    slot = slot_of_model("m")
    source = cluster.owner(slot)
    target = next(node for node in cluster.masters if node is not source)
    move = cluster.begin_to_move(slot, source, target)
    move.some(f"{prefix}{{{tags()[partition_of('m')]}}}:record:m")
    with RedisClusterStorage(cluster.url, prefix=prefix, timeout=0.3) as hasty:
        assert hasty.get_progress("m") is not None  # where it has arrived
        for operation in (
            lambda: hasty.save_progress(progress()),
            lambda: hasty.save_many([progress()]),
            lambda: hasty.delete_progress("m"),
            hasty.load_progress,
        ):
            with pytest.raises(StorageUnavailableError):
                operation()
        # A model of which neither node has anything can't be saved either, nor one be missed.
        assert hasty.get_progress("m").version == 1  # type: ignore[union-attr]
    waiting = threading.Thread(target=spread.update_progress, args=("m", plus_one))
    waiting.start()
    move.rest()
    move.finish()
    waiting.join()
    # By a client that believes the slot to be where it was: MOVED.
    assert spread.save_progress(progress()).version == 3
    assert [record.version for record in spread.load_progress()] == [3]
    assert cluster.owner(slot) is target


def test_a_script_waits_for_all_keys_of_its_slot(
    spread: RedisClusterStorage, cluster: Cluster, prefix: str
) -> None:
    """Not only for those of its model: it sweeps others, too, which by halves look as if never saved."""
    expired = next(
        name for name in (f"n{i}" for i in range(9999)) if slot_of_model(name) == slot_of_model("m")
    )
    spread.save_progress(progress(expired), ttl=HOUR)
    spread.expire_now(expired)
    spread.save_progress(progress(), ttl=HOUR)
    slot, head = slot_of_model("m"), f"{prefix}{{{tags()[partition_of('m')]}}}:"
    source = cluster.owner(slot)
    target = next(node for node in cluster.masters if node is not source)
    move = cluster.begin_to_move(slot, source, target)
    move.some(f"{head}index", f"{head}expiring", f"{head}record:m", f"{head}version:m")
    with (
        RedisClusterStorage(cluster.url, prefix=prefix, timeout=0.3) as hasty,
        pytest.raises(StorageUnavailableError),
    ):
        hasty.save_progress(progress(), ttl=HOUR)
    move.rest()  # fails if the target made up a version meanwhile
    move.finish()
    assert spread.save_progress(progress(), ttl=HOUR).version == 2
    assert spread.save_progress(progress(expired)).version == 3


def test_a_slot_moves_to_and_fro_while_four_clients_write(cluster: Cluster, prefix: str) -> None:
    """No error, nothing acknowledged lost, no version twice or left out."""
    name = "m"
    names = [
        name,
        *(other for other in (f"n{i}" for i in range(9999)) if slot_of_model(other) == slot_of_model(name)),
    ]
    names = names[:4]
    assert len(names) == 4
    slot = slot_of_model(name)
    done = threading.Event()
    versions: dict[str, list[int]] = {name: [] for name in names}
    failures: list[BaseException] = []
    begun = threading.Barrier(5)

    def write(name: str) -> None:
        try:
            with RedisClusterStorage(cluster.url, prefix=prefix, timeout=PATIENCE) as storage:
                storage.health_check()
                begun.wait()
                while not done.is_set() or not versions[name]:
                    versions[name].append(storage.save_progress(progress(name)).version)
        except BaseException as error:
            failures.append(error)

    writers = [threading.Thread(target=write, args=(name,)) for name in names]
    for writer in writers:
        writer.start()
    begun.wait()
    try:
        for _ in range(6):
            source = cluster.owner(slot)
            target = next(node for node in cluster.masters if node is not source)
            move = cluster.begin_to_move(slot, source, target)
            move.rest()
            move.finish()
    finally:
        done.set()
        for writer in writers:
            writer.join()
    assert failures == []
    for given in versions.values():
        assert given == list(range(1, len(given) + 1))
    with RedisClusterStorage(cluster.url, prefix=prefix) as storage:
        kept = {record.model_name: record.version for record in storage.load_progress()}
    assert kept == {name: len(given) for name, given in versions.items()}


def test_a_stopped_node_leaves_the_outcome_unknown_and_no_write_is_sent_twice(
    cluster: Cluster, prefix: str
) -> None:
    """What it had got is carried out when it goes on, once."""
    with RedisClusterStorage(cluster.url, prefix=prefix, timeout=0.5) as hasty:
        assert hasty.save_progress(progress()).version == 1
        node = cluster.owner(slot_of_model("m"))
        node.pause()
        try:
            with pytest.raises(OutcomeUnknownError):
                hasty.save_progress(progress())
            with pytest.raises(StorageUnavailableError):
                hasty.get_progress("m")
            assert not hasty.health_check()
        finally:
            node.resume()
    with RedisClusterStorage(cluster.url, prefix=prefix, timeout=PATIENCE) as storage:
        assert storage.save_progress(progress()).version == 3


def test_any_node_leads_to_all(cluster: Cluster, prefix: str) -> None:
    """Of the hosts in the URL one that answers is enough, a replica too; if none does, the error says so."""
    (nobody,) = free_ports(1)
    one = cluster.replicas[1].port
    with open_storage(f"valkey+cluster://127.0.0.1:{nobody},127.0.0.1:{one}?prefix={prefix}") as storage:
        assert isinstance(storage, RedisClusterStorage)
        storage.save_many(progress(name) for name in names_in_turn(30))
        assert len(storage.load_progress()) == 30
    with open_storage(f"redis+cluster://user:{SECRET}@127.0.0.1:{nobody}") as storage:
        with pytest.raises(StorageUnavailableError) as caught:
            storage.save_progress(progress())
        assert SECRET not in "".join(traceback.format_exception(caught.value)) + repr(storage)


def test_the_wrong_way_to_open_it(cluster: Cluster, shared: Server, program: str) -> None:
    """A node opened as a server of its own, and a server opened as a cluster: the error names the right scheme."""
    with (
        RedisStorage(f"redis://127.0.0.1:{cluster.nodes[0].port}") as storage,
        pytest.raises(ConfigurationError, match=r"redis\+cluster://"),
    ):
        storage.save_progress(progress())
    (port,) = free_ports(1)
    with shared.client() as client:
        client.config_set("port", port)
        try:
            with (
                open_storage(f"redis+cluster://127.0.0.1:{port}") as storage,
                pytest.raises(ConfigurationError, match="no node of a Redis Cluster"),
            ):
                storage.get_progress("m")
        finally:
            client.config_set("port", 0)


def test_a_user_of_a_cluster_needs_two_commands_more(cluster: Cluster, prefix: str) -> None:
    """CLUSTER SLOTS and ASKING, on each node; ``wait`` needs WAIT."""
    user = prefix.rstrip(":")
    rights = [f"+{command}" for command in (*COMMANDS, "cluster|slots", "asking", "wait")]
    for node in cluster.nodes:
        node.say("ACL SETUSER", user, "reset", "on", f">{SECRET}", f"~{prefix}*", *rights)
    url = cluster.url.replace("://", f"://{user}:{SECRET}@")
    with RedisClusterStorage(url, prefix=prefix, timeout=PATIENCE, wait=1) as storage:
        storage.save_many(progress(name) for name in names_in_turn(3))
        assert storage.get_storage_info().model_count == 3
    for node in cluster.nodes:
        node.say("ACL SETUSER", user, "-cluster|slots")
    with (
        RedisClusterStorage(url, prefix=prefix) as storage,
        pytest.raises(StorageUnavailableError, match=r"(?i)permission") as caught,
    ):
        storage.save_progress(progress())
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_each_node_is_connected_to_with_the_password_of_the_moment(cluster: Cluster, prefix: str) -> None:
    """A token that was good when the cluster was found is not when another of its nodes is first needed."""
    user, asked = prefix.rstrip(":"), []

    def renewed() -> str:
        asked.append(f"{SECRET}-{len(asked)}")
        for node in cluster.nodes:
            node.say("ACL SETUSER", user, "resetpass", "on", f">{asked[-1]}", "~*", "+@all")
        return asked[-1]

    url = cluster.url.replace("://", f"://{user}@")
    with RedisClusterStorage(url, prefix=prefix, timeout=PATIENCE, password_provider=renewed) as storage:
        storage.save_many(progress(name) for name in names_in_turn(256))
        assert storage.get_storage_info().model_count == 256
    assert len(asked) >= 3  # each master, once


@pytest.mark.parametrize(
    ("url", "options"),
    [
        ("redis+cluster://localhost/1", {}),
        ("redis+cluster://localhost,", {}),
        ("redis+cluster://localhost,b:x", {}),
        ("redis+cluster://localhost?durability=append-only", {}),
        ("redis+cluster://localhost?prefix={a}", {}),
        ("redis+cluster://localhost?ssl_ca_certs=x", {}),
        ("redis+cluster://localhost?wait=-1", {}),
        ("redis+cluster://localhost?wait=1&wait_aof=1", {}),
        ("redis+other://localhost", {}),
        ("redis://localhost", {"wait": True}),
        ("redis+cluster://localhost", {"redis": object()}),
    ],
)
def test_what_can_not_be_right_is_refused_when_it_is_opened(url: str, options: dict[str, Any]) -> None:
    """Long before a server is needed, and without the password."""
    secret = url.replace("://localhost", f"://user:{SECRET}@localhost")
    with pytest.raises(ConfigurationError) as caught:
        open_storage(secret, **options)
    assert SECRET not in "".join(traceback.format_exception(caught.value))


def test_the_location_names_the_hosts_and_no_secret() -> None:
    """As they stand in the URL."""
    storage = open_storage(f"rediss+cluster://u:{SECRET}@a:1,[::1]:2,c?ssl_password={SECRET}&prefix=p:")
    assert repr(storage) == "<RedisClusterStorage rediss+cluster://a:1,[::1]:2,c?prefix=p:>"
