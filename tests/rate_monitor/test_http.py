"""The HTTP side, with a real client: data, metrics, health, and commands that only the page may give."""

import http.client
import json
import re
import socket
import time
from importlib import resources
from pathlib import Path

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from axo.rate_monitor import http as service_http
from axo.rate_monitor.config import HttpConfig
from tests.rate_monitor.plant import CONTROL, closed_loop, service_config, wait_for

TOKEN = "a-token-for-tests-only"
LOOP = closed_loop([60.0] * 40)
NOMINAL = CONTROL.seeds[0].name


class Client:
    """Requests to a server, each on a connection of its own."""

    def __init__(self, server):
        self.port = server.server_address[1]

    def __call__(self, method, path, body=None, **headers):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        headers = {key.replace("_", "-"): value for key, value in headers.items() if value is not None}
        content = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        connection.request(method, path, content, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        return answer, text

    def post(self, path="/api/override", body=None, **headers):
        if body is None:
            body = {"mode": "hold", "seed": NOMINAL}
        own = {"Authorization": f"Bearer {TOKEN}", "Content_Type": "application/json"}
        answer, text = self("POST", path, body, **(own | headers))
        return answer.status, json.loads(text)


@pytest.fixture
def one(tmp_path, running):
    (tmp_path / "records.jsonl").write_text("".join(line + "\n" for line in LOOP.lines[:30]))
    service = running(service_config(tmp_path))
    service.until_decided(30)
    return service


@pytest.fixture
def server(one, monkeypatch):
    monkeypatch.setattr(service_http, "WRONG_TOKEN_WAIT_S", 0.01)
    server = service_http.Server(
        one.service, HttpConfig(port=0, origins=("https://control.example.org",)), TOKEN
    )
    server.start()
    yield server
    server.stop()


@pytest.fixture
def client(server):
    return Client(server)


def test_it_binds_to_loopback_unless_told_otherwise():
    assert HttpConfig().host == "127.0.0.1"


@pytest.mark.parametrize("path", sorted(service_http.PAGE_FILES))
def test_the_page_is_served_whole_and_may_load_nothing_from_elsewhere(client, path):
    answer, text = client("GET", path)
    assert answer.status == 200 and len(text) > 100
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy and "http" not in policy
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    outside = re.findall(r"""\bhttps?://[^"'\s]+""", text)
    assert set(outside) <= {"http://www.w3.org/2000/svg"}


def test_status_history_and_log_agree_with_what_was_decided(client):
    status = json.loads(client("GET", "/api/status")[1])["status"]
    assert status["last_good"]["lumi_section"] == 30
    assert status["words"] == LOOP.words[29]
    history = json.loads(client("GET", f"/api/history?seed={NOMINAL}")[1])
    assert [row[2] for row in history] == list(range(1, 31))
    assert [row[9] for row in history] == [words[NOMINAL] for words in LOOP.words[:30]]
    later = json.loads(client("GET", f"/api/history?seed={NOMINAL}&after={history[19][0]}")[1])
    assert later == history[20:]
    log = json.loads(client("GET", "/api/log")[1])
    assert log[-1]["seeds"][NOMINAL][1] == LOOP.words[29][NOMINAL]


@pytest.mark.parametrize(
    ("path", "status"),
    [("/nothing", 404), ("/../etc/passwd", 404), ("/api/log?after=-1", 400), ("/api/log?after=x", 400)],
)
def test_other_requests_are_refused_in_one_line(client, path, status):
    answer, text = client("GET", path)
    assert answer.status == status and set(json.loads(text)) == {"error"}
    assert client("PUT", "/api/override")[0].status == 501


def test_data_is_served_under_known_names_only(client):
    """A foreign name that was made to resolve to this address (DNS rebinding) gets nothing."""
    assert client("GET", "/api/status", Host="evil.example.org")[0].status == 421
    assert client("GET", "/", Host=f"evil.example.org:{client.port}")[0].status == 421
    assert client("GET", "/api/status", Host="control.example.org")[0].status == 200
    assert client("GET", "/metrics", Host="anything")[0].status == 200


def test_events_bring_what_there_is_and_then_what_comes(client, one, tmp_path):
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.request("GET", f"/events?seed={NOMINAL}&after=0")
    answer = connection.getresponse()
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    name, number, data = read_event(answer)
    assert name == "update" and len(data["history"]) == 30
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write(LOOP.lines[30] + "\n")
    sections = []
    while 31 not in sections:
        name, later, data = read_event(answer)
        sections += [row[2] for row in data.get("history", [])]
        assert later >= number
    assert sections == [31]
    connection.close()
    # A reader that comes back says what it has, and gets only the rest.
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.request("GET", f"/events?seed={NOMINAL}&after=0", headers={"Last-Event-ID": str(number)})
    _, _, data = read_event(connection.getresponse())
    assert [row[2] for row in data["history"]] == [31]
    connection.close()


def read_event(answer):
    """(name, id, data) of the next event."""
    fields = {}
    while line := answer.readline().decode().rstrip("\n"):
        key, _, value = line.partition(": ")
        fields[key] = value
    return fields["event"], int(fields["id"]), json.loads(fields["data"])


def test_events_beat_when_nothing_comes(client, monkeypatch):
    monkeypatch.setattr(service_http, "BEAT_S", 0.05)
    connection = http.client.HTTPConnection("127.0.0.1", client.port, timeout=20)
    connection.request("GET", f"/events?seed={NOMINAL}&after=0")
    answer = connection.getresponse()
    names = [read_event(answer)[0] for _ in range(4)]
    connection.close()
    assert names[0] == "update" and "beat" in names


def test_too_many_readers_are_refused(client, server):
    for _ in range(service_http.MAXIMUM_WATCHERS):
        assert server.watchers.acquire(blocking=False)
    assert client("GET", "/events")[0].status == 503


def samples(text):
    """{(name, labels): value} of an exposition."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_metrics_say_what_was_decided(client, one):
    found = samples(client("GET", "/metrics")[1])
    seed = (("seed", NOMINAL),)
    row = one.service.board.history(NOMINAL)[-1]
    assert found["axo_target_hertz", seed] == 1000
    assert found["axo_threshold_word", seed] == LOOP.words[29][NOMINAL]
    assert found["axo_rate_hertz", seed] == pytest.approx(row[5])
    assert found["axo_pure_rate_hertz", seed] == pytest.approx(row[6])
    assert found["axo_in_band", seed] == 1
    assert found["axo_lumi_section", ()] == 30
    assert found["axo_entries_total", (("kind", "record"),)] == 30
    assert found["axo_decision_latency_seconds_count", ()] == 30
    assert found["axo_journal_lag_seconds", ()] == 0


def metric_names_in(text):
    """Names of axo metrics in an expression or file."""
    return set(re.findall(r"\baxo_[a-z_]+", text))


@pytest.mark.parametrize("file", ["alerts.yaml", "grafana_dashboard.json"])
def test_rules_and_dashboard_name_only_metrics_that_exist(client, file):
    # One refused write and one alarm, so that every metric with labels has a sample.
    client.post(body={}, Authorization="Bearer wrong")
    text = resources.files("axo.rate_monitor").joinpath(file).read_text()
    loaded = yaml.safe_load(text)
    assert loaded
    exposed = {name for name, _ in samples(client("GET", "/metrics")[1])}
    labelled = {"axo_alarm", "axo_refused_records_total"}
    assert metric_names_in(text) <= exposed | labelled


def test_alarms_are_metrics(client, one, tmp_path):
    with (tmp_path / "records.jsonl").open("a") as file:
        file.write("{broken\n")
    one.until_alarm("record")
    found = samples(client("GET", "/metrics")[1])
    assert found["axo_alarm", (("code", "record"), ("seed", ""))] == 1
    assert found["axo_refused_records_total", (("reason", "fault"),)] == 1


def test_health_and_readiness(client, one, monkeypatch):
    assert client("GET", "/healthz")[0].status == 200
    answer, text = client("GET", "/readyz")
    assert answer.status == 200 and json.loads(text) == {"ready": True, "troubles": []}
    one.stop()
    monkeypatch.setattr("axo.rate_monitor.service.HEARTBEAT_S", 0.0)
    assert client("GET", "/healthz")[0].status == 503


def test_a_service_that_had_no_record_is_not_ready(tmp_path, running):
    service = running(service_config(tmp_path)).service
    server = service_http.Server(service, HttpConfig(port=0), TOKEN)
    server.start()
    answer, text = Client(server)("GET", "/readyz")
    server.stop()
    assert answer.status == 503 and json.loads(text)["troubles"] == ["no good record yet"]


REFUSED = [
    (401, {"Authorization": None}, None),
    (401, {"Authorization": "Bearer wrong"}, None),
    (401, {"Authorization": TOKEN}, None),
    (403, {"Origin": "http://evil.example.org"}, None),
    (403, {"Origin": "null"}, None),
    (403, {"Sec_Fetch_Site": "cross-site"}, None),
    (421, {"Host": "evil.example.org"}, None),
    (415, {"Content_Type": "text/plain"}, None),
    (413, {}, b" " * 5000),
    (400, {}, b"{"),
    (400, {}, b"[1]"),
    (400, {}, b"\xff"),
    (422, {}, {"mode": "hold", "seed": NOMINAL, "force": True}),
    (422, {}, {"mode": "manual", "seed": NOMINAL}),
    (422, {}, {"mode": "manual", "seed": NOMINAL, "threshold_word": 9999}),
    (422, {}, {"mode": "manual", "seed": NOMINAL, "threshold_word": 40001}),
    (422, {}, {"mode": "manual", "seed": NOMINAL, "threshold_word": 20000.5}),
    (422, {}, {"mode": "manual", "seed": NOMINAL, "threshold_word": True}),
    (422, {}, {"mode": "manual", "seed": None, "threshold_word": 20000}),
    (422, {}, {"mode": "off", "seed": NOMINAL}),
    (422, {}, {"mode": "hold", "seed": "AXO_NOMNAL"}),
    (422, {}, {"mode": "hold", "seed": ["x"]}),
    (422, {}, {"mode": "hold", "seed": NOMINAL, "by": "two\nlines"}),
    (422, {}, {"mode": "hold", "seed": NOMINAL, "comment": "x" * 501}),
]


@pytest.mark.parametrize(("status", "headers", "body"), REFUSED)
def test_a_command_that_may_not_be_given_changes_nothing(client, one, status, headers, body):
    number = one.service.board.log()[-1]["number"]
    got, said = client.post(body=body, **headers)
    assert got == status and "\n" not in said["error"]
    assert client("GET", "/healthz")[0].status == 200
    assert one.service.board.log()[-1]["number"] == number
    found = samples(client("GET", "/metrics")[1])
    assert found["axo_refused_writes_total", ()] == 1


@pytest.mark.parametrize("origin", [None, "own", "https://control.example.org"])
def test_the_page_and_programs_with_the_token_may_command(client, one, tmp_path, origin):
    headers = {} if origin is None else {"Origin": origin.replace("own", f"http://127.0.0.1:{client.port}")}
    body = {"mode": "manual", "seed": NOMINAL, "threshold_word": 23456, "by": "a shifter", "comment": "hot"}
    status, said = client.post(body=body, **headers)
    assert status == 200
    row = one.service.board.log()[-1]
    assert (row["number"], row["kind"], row["note"]) == (
        said["entry"],
        "override",
        f"a shifter set {NOMINAL} to 23456 (hot)",
    )
    out = json.loads((tmp_path / "thresholds.json").read_text())
    assert out["threshold_words"][NOMINAL] == 23456 and out["decision"] == said["entry"]


def test_a_confirmation_of_nothing_is_refused(client):
    status, said = client.post("/api/confirmation", {"proposal": "1:3", "accept": True})
    assert status == 422 and "no longer waits" in said["error"]
    assert client.post("/api/confirmation", {"proposal": "1:3", "accept": "yes"})[0] == 422


def test_a_command_to_a_service_that_does_not_turn_is_not_done_later(client, one, monkeypatch):
    monkeypatch.setattr("axo.rate_monitor.service.COMMAND_TIMEOUT_S", 0.1)
    one.stop()
    assert client.post()[0] == 503


def test_clients_that_send_rubbish_or_nothing_harm_nobody(client, one):
    held = []
    for text in (b"", b"\x16\x03\x01\x00\xa5", b"GET / HTTP/1.1\r\n", b"POST /api/override HTTP/1.1\r\n\r\n"):
        connection = socket.create_connection(("127.0.0.1", client.port), timeout=5)
        connection.sendall(text)
        held.append(connection)
    started = time.monotonic()
    assert client("GET", "/healthz")[0].status == 200
    assert time.monotonic() - started < 5
    for connection in held:
        connection.close()
    assert client.post()[0] == 200


def test_the_log_of_a_command_names_who_and_why(client, one):
    client.post(body={"mode": "hold", "seed": None, "by": "me", "comment": "test"})
    wait_for(lambda: one.service.board.snapshot()["seed_modes"][NOMINAL] == "hold", "the hold")
    assert set(one.service.board.snapshot()["seed_modes"].values()) == {"hold"}


def test_no_file_of_the_page_is_left_out_of_the_server():
    folder = Path(str(resources.files("axo.rate_monitor").joinpath("page")))
    assert {path.name for path in folder.iterdir()} == {name for name, _ in service_http.PAGE_FILES.values()}
