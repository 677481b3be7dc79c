"""The plan of a stack: what is started, with which ports, commands and environment."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backend.app.errors import SetupError
from backend.app.settings import Settings
from backend.stack.balancer import COOKIE, caddyfile
from backend.stack.plan import (
    MAX_NODES,
    MONGODB_OFFSET,
    Kind,
    Programs,
    Role,
    StackOptions,
    StackPlan,
    fixed_ports,
    plan_stack,
)

PROGRAMS = Programs(("python", "cli.py"), "valkey-server", "mongod", "caddy")
SECRET = "s" * 40


def full(nodes: int = 2, port: int = 8000) -> StackPlan:
    options = StackOptions(Kind.FULL, nodes, port, Path("/data"))
    return plan_stack(options, fixed_ports(options), PROGRAMS, SECRET)


def embedded() -> StackPlan:
    options = StackOptions(Kind.EMBEDDED, 1, 8000, Path("/data"))
    return plan_stack(options, fixed_ports(options), Programs(("python", "cli.py")), SECRET)


@given(st.integers(1, MAX_NODES), st.integers(1, 65_535 - MONGODB_OFFSET))
def test_no_two_services_share_a_port(nodes, port):
    ports = [service.port for service in full(nodes, port).services]
    assert len(set(ports)) == len(ports) == nodes + 3


@given(st.integers(1, MAX_NODES), st.integers(1, 65_535 - MONGODB_OFFSET))
def test_the_named_ports_are_those_of_the_services(nodes, port):
    ports = fixed_ports(StackOptions(Kind.FULL, nodes, port))
    assert sorted(number for _, number in ports.named()) == sorted(s.port for s in full(nodes, port).services)


def test_a_full_stack_starts_services_then_nodes_then_the_load_balancer():
    stages = [[service.name for service in stage] for stage in full().stages()]
    assert stages == [["redis", "mongodb"], ["node-1", "node-2"], ["balancer"]]


def test_an_embedded_stack_is_one_node_on_the_public_port():
    plan = embedded()
    assert [service.name for service in plan.services] == ["node-1"]
    assert plan.url == plan.services[0].url == "http://127.0.0.1:8000"


def test_every_node_knows_the_same_store_bus_and_secret():
    first, second = full().with_role(Role.NODE)
    different = {"VOUCHSTORM_NODE"}
    assert {k: v for k, v in first.environment.items() if k not in different} == {
        k: v for k, v in second.environment.items() if k not in different
    }


def test_nodes_are_told_where_mongodb_and_redis_are():
    environment = full().with_role(Role.NODE)[0].environment
    assert environment["VOUCHSTORM_STORE_URL"] == "mongodb://127.0.0.1:8099/vouchstorm?replicaSet=rs0"
    assert environment["VOUCHSTORM_BUS_URL"] == "redis://127.0.0.1:8098/0"


def test_an_embedded_node_has_no_bus_whatever_the_user_has_set():
    environment = embedded().services[0].environment
    assert environment["VOUCHSTORM_BUS_URL"] is None
    assert environment["VOUCHSTORM_STORE_URL"] == "sqlite:////data/vouchstorm.db"


def test_nodes_have_names_of_their_own():
    names = [node.environment["VOUCHSTORM_NODE"] for node in full(3).with_role(Role.NODE)]
    assert names == ["node-1", "node-2", "node-3"]


def test_the_environment_of_a_node_holds_known_settings_only():
    known = {f"VOUCHSTORM_{name.upper()}" for name in Settings.model_fields}
    assert set(full().with_role(Role.NODE)[0].environment) <= known


def test_secrets_are_in_no_command_line():
    assert not any(SECRET in word for service in full().services for word in service.command)


def test_a_node_has_time_to_drain_before_it_is_killed():
    options = StackOptions(Kind.FULL, 1, 8000, Path("/data"), drain_s=50.0)
    node = plan_stack(options, fixed_ports(options), PROGRAMS, SECRET).with_role(Role.NODE)[0]
    assert node.grace_s > 50.0


@pytest.mark.parametrize("role", [Role.REDIS, Role.MONGODB])
def test_services_listen_on_loopback_only(role):
    command = full().with_role(role)[0].command
    bind = next(word for word in command if word.startswith("--bind"))
    assert command[command.index(bind) + 1] == "127.0.0.1"


def test_the_load_balancer_reads_the_planned_file():
    plan = full()
    (path,) = plan.files
    assert str(path) in plan.with_role(Role.BALANCER)[0].command


def test_the_load_balancer_listens_on_loopback_only():
    assert "bind 127.0.0.1" in caddyfile(8000, [8001])


def test_the_load_balancer_knows_every_node_and_sticks_by_cookie():
    text = caddyfile(8000, [8001, 8002])
    assert "reverse_proxy 127.0.0.1:8001 127.0.0.1:8002" in text
    assert f"lb_policy cookie {COOKIE}" in text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (StackOptions(Kind.EMBEDDED, 2), "--stack full"),
        (StackOptions(Kind.FULL, 0), "--nodes must be between"),
        (StackOptions(Kind.FULL, MAX_NODES + 1), "--nodes must be between"),
        (StackOptions(Kind.FULL, 2, 65_500), "--port must be at most"),
    ],
)
def test_wishes_that_do_not_fit_together_are_refused(options, sentence):
    with pytest.raises(SetupError, match=sentence):
        options.checked()
