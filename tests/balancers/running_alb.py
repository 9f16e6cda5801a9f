# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""An Application Load Balancer in moto's server, which is asked over HTTP through a proxy that sees, and may spoil, every request."""

from __future__ import annotations

import functools
import http.client
import http.server
import itertools
import socket
import subprocess
import sys
import threading
import time
import typing
import urllib.parse
from pathlib import Path

import boto3

__all__ = ["ACCOUNT", "REGION", "AlbInMoto", "Moto", "Proxy", "refusal"]

REGION = "eu-central-1"
ACCOUNT = "123456789012"
PATIENCE_SECONDS = 60.0
HOSTS = ("10.0.0.1", "10.0.0.2")
PORTS = {"blue": 8001, "green": 8002}
Answer = tuple[int, bytes]
Spoil = typing.Callable[[str, typing.Callable[[], Answer]], Answer]
"""Answers an action; the second argument is what asks moto."""


class Moto:
    """moto's server, a process of its own."""

    def __init__(self, directory: Path) -> None:
        """Start it, and wait until it answers."""
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self._log = directory / "moto.log"
        self.numbers = itertools.count(1)
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while not self._answers():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.1)

    def ask(self, method: str, path: str, body: bytes, headers: typing.Mapping[str, str]) -> Answer:
        """Pass a request on."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, dict(headers))
            response = connection.getresponse()
            return response.status, response.read()
        finally:
            connection.close()

    @functools.cache  # noqa: B019 - there is one, and each client takes a second to make
    def client(self, service: str) -> typing.Any:
        """Return a client that asks it directly."""
        return boto3.client(service, region_name=REGION, endpoint_url=f"http://127.0.0.1:{self.port}")

    @functools.cached_property
    def subnets(self) -> list[dict[str, str]]:
        """Those of the default network."""
        return list(self.client("ec2").describe_subnets()["Subnets"])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()

    def _answers(self) -> bool:
        try:
            return self.ask("GET", "/moto-api/", b"", {})[0] == http.client.OK
        except OSError:
            return False


class Proxy:
    """What stands for AWS; ``asked`` are the actions, one after the other, with their parameters, ``spoil`` may answer them."""

    def __init__(self, moto: Moto) -> None:
        """Serve on a free port."""
        self.moto = moto
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.spoil: Spoil | None = None
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    @property
    def actions(self) -> list[str]:
        """The actions that were asked for."""
        return [action for action, _parameters in self.asked]

    @property
    def written(self) -> list[str]:
        """Those that change something."""
        return [action for action in self.actions if not action.startswith("Describe")]

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(http.server.BaseHTTPRequestHandler):
    proxy: typing.ClassVar[Proxy]

    def do_POST(self) -> None:
        """Pass on or spoil."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        parameters = dict(urllib.parse.parse_qsl(body.decode()))
        action = parameters.get("Action", "")
        self.proxy.asked.append((action, parameters))
        passed = {name: self.headers[name] for name in ("Authorization", "Content-Type", "Host", "X-Amz-Date")}

        def ask() -> Answer:
            return self.proxy.moto.ask("POST", self.path, body, passed)

        status, answer = self.proxy.spoil(action, ask) if self.proxy.spoil else ask()
        self.send_response(status)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *args: object) -> None:
        """Say nothing."""


def refusal(code: str, message: str = "No.", status: int = 400) -> Answer:
    """Return what AWS answers when it refuses."""
    text = f"<ErrorResponse><Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error></ErrorResponse>"
    return status, text.encode()


class AlbInMoto:
    """A load balancer with a listener and one rule of it, which forward to the target groups of both slots with weight 0."""

    def __init__(self, moto: Moto) -> None:
        """Make it, beside those of other tests."""
        self.moto, self.client = moto, moto.client("elbv2")
        subnets = moto.subnets
        self.vpc = subnets[0]["VpcId"]
        self.name = f"shop{next(moto.numbers)}"
        self.names = {slot: f"{self.name}-{slot}" for slot in PORTS}
        made = self.client.create_load_balancer(Name=self.name, Subnets=[one["SubnetId"] for one in subnets[:2]])
        self.balancer: str = made["LoadBalancers"][0]["LoadBalancerArn"]
        self.groups = {slot: self.target_group(self.names[slot]) for slot in PORTS}
        for slot, port in PORTS.items():
            self.client.register_targets(
                TargetGroupArn=self.groups[slot], Targets=[{"Id": host, "Port": port} for host in HOSTS]
            )
        self.listener: str = self.client.create_listener(
            LoadBalancerArn=self.balancer, Protocol="HTTP", Port=80, DefaultActions=[self.forward(0, 0)]
        )["Listeners"][0]["ListenerArn"]
        self.rule: str = self.client.create_rule(
            ListenerArn=self.listener,
            Priority=1,
            Conditions=[{"Field": "path-pattern", "Values": ["/shop/*"]}],
            Actions=[self.forward(0, 0)],
        )["Rules"][0]["RuleArn"]

    def target_group(self, name: str) -> str:
        """Make a target group; return its ARN."""
        made = self.client.create_target_group(Name=name, Protocol="HTTP", Port=80, VpcId=self.vpc, TargetType="ip")
        return str(made["TargetGroups"][0]["TargetGroupArn"])

    def forward(self, blue: int, green: int, **others: int) -> dict[str, typing.Any]:
        """Return an action that forwards by these weights; the others are ARNs."""
        weights = {self.groups["blue"]: blue, self.groups["green"]: green, **others}
        groups = [{"TargetGroupArn": arn, "Weight": weight} for arn, weight in weights.items()]
        return {"Type": "forward", "ForwardConfig": {"TargetGroups": groups}}

    def set(self, *actions: dict[str, typing.Any]) -> None:
        """Change the rule as somebody else would."""
        self.client.modify_rule(RuleArn=self.rule, Actions=list(actions))

    def actions(self) -> list[dict[str, typing.Any]]:
        """Return the actions of the rule."""
        return list(self.client.describe_rules(RuleArns=[self.rule])["Rules"][0]["Actions"])

    def weights(self, actions: list[dict[str, typing.Any]] | None = None) -> tuple[int, int, bool]:
        """Return the weights of blue and green, and whether clients stay where they are."""
        config = (actions or self.actions())[-1]["ForwardConfig"]
        weights = {one["TargetGroupArn"]: one["Weight"] for one in config["TargetGroups"]}
        steady = config["TargetGroupStickinessConfig"]["Enabled"] in (True, "true")
        return weights[self.groups["blue"]], weights[self.groups["green"]], steady
