"""The lab's Qdrant: points, aliases and snapshots over REST, by plain HTTP and by qdrant-client."""

from __future__ import annotations

import hashlib
import socket
import uuid
from typing import Any

import pytest
import requests

from tests.lab.containers import Run, Running

pytestmark = pytest.mark.integration

KEY = "a-key-of-the-test"
SECOND = str(uuid.UUID(int=7))


@pytest.fixture
def server(run: Run, volume: str) -> Running:
    running = run(
        "qdrant",
        volumes=[f"{volume}:/qdrant/storage"],
        environment={"QDRANT__SERVICE__API_KEY": KEY},
        publish=[6333, 6334],
    )
    wait_for(running)
    return running


def wait_for(server: Running) -> None:
    # The schema's health check, and then that it answers.
    server.wait_until(
        "listening", lambda: server.exit_code("bash", "-c", ":> /dev/tcp/127.0.0.1/6333") == 0
    )
    assert requests.get(server.url(6333) + "/readyz", timeout=120).ok


class Api:
    """The REST API as a backup uses it: JSON in, result out."""

    def __init__(self, server: Running) -> None:
        self.base = server.url(6333)
        self.session = requests.Session()
        self.session.headers["api-key"] = KEY

    def call(self, method: str, path: str, json: Any = None, *, status: int = 200) -> Any:
        answer = self.session.request(method, self.base + path, json=json, timeout=120)
        assert answer.status_code == status, answer.text
        body = answer.json()
        return body["result"] if status == 200 else body["status"]["error"]

    def upload(self, collection: str, content: bytes, **options: str) -> requests.Response:
        return self.session.post(
            f"{self.base}/collections/{collection}/snapshots/upload",
            params={"wait": "true", "priority": "snapshot", **options},
            files={"snapshot": ("any.snapshot", content)},
            timeout=60,
        )


@pytest.fixture
def api(server: Running) -> Api:
    here = Api(server)
    here.call("PUT", "/collections/docs", {"vectors": {"size": 4, "distance": "Cosine"}})
    here.call("PUT", "/collections/docs/points?wait=true", {"points": points()})
    here.call(
        "POST",
        "/collections/aliases",
        {"actions": [{"create_alias": {"collection_name": "docs", "alias_name": "current"}}]},
    )
    return here


def points() -> list[dict[str, Any]]:
    numbered = [
        {
            "id": number,
            "vector": [number + 0.5, 1, 2, 3],
            "payload": {
                "when": f"2024-01-{number % 28 + 1:02}T00:00:00Z",
                "text": f"dünn #{number}",
                "nested": {"list": [1, 2.5, None, True], "n": number},
            },
        }
        for number in range(500)
    ]
    return [*numbered, {"id": SECOND, "vector": [1, 0, 0, 0]}]


def everything(api: Api, collection: str = "docs") -> list[Any]:
    """Every point with payload and vector, by scrolling in small pages."""
    found, offset = [], None
    while True:
        page = api.call(
            "POST",
            f"/collections/{collection}/points/scroll",
            {"limit": 64, "offset": offset, "with_vector": True},
        )
        found += page["points"]
        offset = page["next_page_offset"]
        if offset is None:
            return found


def test_snapshot_delete_recover_gives_the_same_points(api: Api) -> None:
    before = everything(api)
    assert len(before) == 501
    made = api.call("POST", "/collections/docs/snapshots")
    path = f"/collections/docs/snapshots/{made['name']}"
    content = api.session.get(api.base + path, timeout=120).content
    assert len(content) == made["size"]
    assert hashlib.sha256(content).hexdigest() == made["checksum"]
    assert api.call("GET", "/collections/docs/snapshots") == [made]
    assert api.call("DELETE", path) is True
    assert api.call("GET", "/collections/docs/snapshots") == []

    assert api.call("DELETE", "/collections/docs") is True
    assert api.call("GET", "/aliases") == {"aliases": []}

    assert api.upload("docs", content, checksum=made["checksum"]).json()["result"] is True
    assert everything(api) == before


@pytest.mark.parametrize("damage", ["flipped", "truncated", "other"])
def test_a_damaged_snapshot_is_refused_and_changes_nothing(api: Api, damage: str) -> None:
    before = everything(api)
    made = api.call("POST", "/collections/docs/snapshots")
    good = api.session.get(
        f"{api.base}/collections/docs/snapshots/{made['name']}", timeout=120
    ).content
    bad = {"flipped": good[:-1] + b"x", "truncated": good[: len(good) // 2], "other": b"hello"}
    answer = api.upload("docs", bad[damage], checksum=made["checksum"])
    assert answer.status_code == 400
    assert "checksum mismatch" in answer.json()["status"]["error"]
    assert everything(api) == before


def test_a_file_that_is_no_snapshot_is_refused_without_a_checksum_too(api: Api) -> None:
    before = everything(api)
    assert api.upload("docs", b"not a tar at all").status_code == 400
    assert everything(api) == before


def test_data_and_aliases_survive_a_crash(server: Running, api: Api) -> None:
    before = everything(api)
    server.container.kill()
    server.container.start()
    wait_for(server)
    again = Api(server)
    assert everything(again) == before
    assert everything(again, "current") == before


def test_deletes_by_id_and_by_time(api: Api) -> None:
    where = {"must": [{"key": "when", "range": {"lt": "2024-01-15T00:00:00Z"}}]}
    old = api.call("POST", "/collections/docs/points/count", {"filter": where})["count"]
    assert 0 < old < 500
    api.call("POST", "/collections/docs/points/delete?wait=true", {"filter": where})
    api.call("POST", "/collections/docs/points/delete?wait=true", {"points": [SECOND]})
    assert api.call("POST", "/collections/docs/points/count", {})["count"] == 500 - old


def test_recovers_from_a_file_of_its_own_into_another_name(api: Api) -> None:
    made = api.call("POST", "/collections/docs/snapshots")
    location = f"file:///qdrant/snapshots/docs/{made['name']}"
    api.call(
        "PUT",
        "/collections/copy/snapshots/recover?wait=true",
        {"location": location, "priority": "snapshot", "checksum": made["checksum"]},
    )
    assert everything(api, "copy") == everything(api)
    outside = {"location": "file:///etc/hostname"}
    error = api.call("PUT", "/collections/copy/snapshots/recover", outside, status=400)
    assert "not below" in error


def test_a_key_is_asked_for_except_by_probes(server: Running) -> None:
    base = server.url(6333)
    for path in ("/", "/healthz", "/livez", "/readyz"):
        assert requests.get(base + path, timeout=120).ok
    assert requests.get(base + "/collections", timeout=120).status_code == 401
    wrong = {"api-key": "another"}
    assert requests.get(base + "/collections", headers=wrong, timeout=120).status_code == 401
    bearer = {"Authorization": f"Bearer {KEY}"}
    assert requests.get(base + "/collections", headers=bearer, timeout=120).ok
    # A refused upload is answered, not cut off.
    answer = requests.post(
        base + "/collections/x/snapshots/upload", files={"snapshot": b"x" * 5_000_000}, timeout=120
    )
    assert answer.status_code == 401


def test_what_it_does_not_offer_is_an_error(api: Api) -> None:
    assert "does not offer" in api.call("POST", "/snapshots", status=501)
    assert "doesn't exist" in api.call("GET", "/collections/nope", status=404)
    wrong = {"points": [{"id": 1, "vector": [1]}]}
    assert "expected dim" in api.call("PUT", "/collections/docs/points", wrong, status=400)


def test_strict_mode_limits_what_one_request_asks_for(api: Api) -> None:
    strict = {"strict_mode_config": {"enabled": True, "max_query_limit": 10}}
    api.call("PATCH", "/collections/docs", strict)
    shown = api.call("GET", "/collections/docs")["config"]["strict_mode_config"]
    assert shown == strict["strict_mode_config"]
    error = api.call("POST", "/collections/docs/points/scroll", {"limit": 11}, status=400)
    assert "Limit exceeded 11 > 10" in error
    assert len(api.call("POST", "/collections/docs/points/scroll", {"limit": 10})["points"]) == 10
    off = {"strict_mode_config": {"enabled": False}}
    api.call("PATCH", "/collections/docs", off)
    assert len(api.call("POST", "/collections/docs/points/scroll", {"limit": 11})["points"]) == 11


def test_a_name_may_be_too_long_for_its_snapshot(api: Api) -> None:
    name = "l" * 200
    api.call("PUT", f"/collections/{name}", {"vectors": {"size": 2, "distance": "Dot"}})
    assert "File name too long" in api.call("POST", f"/collections/{name}/snapshots", status=500)
    assert api.call("GET", f"/collections/{name}/snapshots") == []
    other = "\u6f22" * 40
    api.call("PUT", f"/collections/{other}", {"vectors": {"size": 2, "distance": "Dot"}})
    made = api.call("POST", f"/collections/{other}/snapshots")
    path = f"{api.base}/collections/{other}/snapshots/{made['name']}"
    assert len(api.session.get(path, timeout=30).content) == made["size"]


def test_the_grpc_port_takes_connections(server: Running) -> None:
    port = int(server.url(6334).rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), timeout=120) as connection:
        assert connection.recv(1) == b""


def test_qdrant_client_works_over_rest(server: Running) -> None:
    import qdrant_client as qdrant

    m = qdrant.models
    with pytest.warns(UserWarning, match="insecure"):
        client = qdrant.QdrantClient(
            url=server.url(6333), api_key=KEY, prefer_grpc=False, timeout=120
        )
    client.create_collection(
        "mixed",
        vectors_config={"dense": m.VectorParams(size=2, distance=m.Distance.DOT)},
        sparse_vectors_config={"words": m.SparseVectorParams(modifier=m.Modifier.IDF)},
    )
    assert client.collection_exists("mixed")
    client.upload_points(
        "mixed",
        [
            m.PointStruct(
                id=number,
                vector={
                    "dense": [number, 1.0],
                    "words": m.SparseVector(indices=[number, 100], values=[0.5, 1.0]),
                },
                payload={"group": number % 3},
            )
            for number in range(50)
        ],
        wait=True,
    )
    client.create_payload_index("mixed", "group", m.PayloadSchemaType.INTEGER)
    info = client.get_collection("mixed")
    assert (info.points_count, info.payload_schema["group"].points) == (50, 50)

    best = client.query_points("mixed", [1.0, 0.0], using="dense", limit=2).points
    assert [point.id for point in best] == [49, 48]
    same = client.query_points("mixed", 49, using="dense", limit=1).points
    assert same[0].id == 48
    fused = client.query_points(
        "mixed",
        m.FusionQuery(fusion=m.Fusion.RRF),
        prefetch=[
            m.Prefetch(query=[1.0, 0.0], using="dense"),
            m.Prefetch(query=m.SparseVector(indices=[3], values=[1.0]), using="words"),
        ],
    ).points
    assert {49, 3} <= {point.id for point in fused}

    only = m.Filter(must=[m.FieldCondition(key="group", match=m.MatchValue(value=1))])
    assert client.count("mixed", count_filter=only).count == 17
    client.set_payload("mixed", {"note": "new"}, points=only)
    client.delete("mixed", m.FilterSelector(filter=only))
    aliased = m.CreateAlias(collection_name="mixed", alias_name="a")
    client.update_collection_aliases([m.CreateAliasOperation(create_alias=aliased)])
    assert [alias.alias_name for alias in client.get_aliases().aliases] == ["a"]

    before = client.scroll("a", limit=100, with_vectors=True)[0]
    assert len(before) == 33
    snapshot = client.create_snapshot("mixed")
    client.delete_collection("mixed")
    assert client.get_collections().collections == []
    # A deleted collection's snapshots stay on the server.
    location = f"file:///qdrant/snapshots/mixed/{snapshot.name}"
    with pytest.raises(qdrant.http.exceptions.UnexpectedResponse, match="checksum mismatch"):
        client.recover_snapshot("mixed", location=location, checksum="00" * 32)
    priority = m.SnapshotPriority.SNAPSHOT
    assert client.recover_snapshot(
        "mixed", location=location, checksum=snapshot.checksum, priority=priority
    )
    assert client.scroll("mixed", limit=100, with_vectors=True)[0] == before
