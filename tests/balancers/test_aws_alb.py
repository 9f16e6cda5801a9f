# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""The driver for AWS's Application Load Balancer, over HTTP with moto's server, which has no traffic: the API is all that is tested."""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.baton.release.plugins.module_utils import _boto3, balancer_aws_alb
from ansible_collections.baton.release.plugins.module_utils.alb_actions import STEADY_SECONDS
from ansible_collections.baton.release.plugins.module_utils.balancer_aws_alb import AwsAlb
from ansible_collections.baton.release.plugins.module_utils.errors import BatonError
from ansible_collections.baton.release.plugins.module_utils.switch import Wanted, observe, switch
from ansible_collections.baton.release.plugins.modules import lb_switch

from tests.balancers.running_alb import ACCOUNT, REGION, AlbInMoto, Answer, Moto, Proxy, refusal

COLLECTIONS = Path(__file__).resolve().parents[2] / "playbooks" / "collections"
OIDC = {
    "Issuer": "https://login.example.com",
    "AuthorizationEndpoint": "https://login.example.com/authorize",
    "TokenEndpoint": "https://login.example.com/token",
    "UserInfoEndpoint": "https://login.example.com/who",
    "ClientId": "shop",
    "ClientSecret": "hush",
}


@pytest.fixture(scope="module")
def moto(tmp_path_factory: pytest.TempPathFactory) -> typing.Iterator[Moto]:
    """Return moto's server."""
    running = Moto(tmp_path_factory.mktemp("moto"))
    yield running
    running.close()


@pytest.fixture
def alb(moto: Moto, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> typing.Iterator[Alb]:
    """Return a load balancer whose rule forwards to both slots with weight 0, and what boto3 needs to find it."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))  # nobody's ~/.aws
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIATEST")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hush")
    monkeypatch.setattr(balancer_aws_alb, "_POLL_SECONDS", 0.05)
    proxy = Proxy(moto)
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    try:
        yield Alb(AlbInMoto(moto), proxy, tmp_path / "state")
    finally:
        proxy.close()


class Alb:
    """The load balancer in moto, the proxy before it, and the state directory."""

    def __init__(self, aws: AlbInMoto, proxy: Proxy, state: Path) -> None:
        self.aws, self.proxy, self.state = aws, proxy, state
        self.made: dict[str, AwsAlb] = {}

    def driver(self, arn: str = "", **more: typing.Any) -> AwsAlb:
        """Return a driver, the same one for the same ARN where nothing else is asked for: each takes long to load boto3's models."""
        made = AwsAlb(arn or self.aws.rule, **{"target_groups": self.aws.groups, "patience": 0.5, **more})
        return made if more else self.made.setdefault(made.arn, made)

    def switch(self, slot: str, expected: str | None = None, **more: typing.Any) -> dict[str, typing.Any]:
        driver = more.pop("driver", None) or self.driver()
        kept = {"token": more.pop("token", None), "check_mode": more.pop("check_mode", False)}
        wanted = Wanted(slot, expected, **{"min_up": 2, "wait": 0.0, **more})
        return switch(driver, wanted, state_dir=self.state, **kept)

    def observe(self) -> dict[str, typing.Any]:
        return observe(self.driver(), self.state)

    def spoil(self, action: str, answer: Answer, *, times: int = 10**6, done: bool = False) -> None:
        """Have an action answered so, the first ``times`` times; with ``done`` it is done all the same."""
        left = itertools.count(times, -1)

        def answered(asked: str, ask: typing.Callable[[], Answer]) -> Answer:
            if asked != action or next(left) <= 0:
                return ask()
            if done:
                ask()
            return answer

        self.proxy.spoil = answered

    def rewrite(self, action: str, pattern: str, by: str, *, times: int = 10**6) -> None:
        """Have the first ``times`` answers to an action changed."""
        left = itertools.count(times, -1)

        def answered(asked: str, ask: typing.Callable[[], Answer]) -> Answer:
            status, body = ask()
            if asked != action or next(left) <= 0:
                return status, body
            changed = re.sub(pattern, by, body.decode(), flags=re.DOTALL)
            assert changed != body.decode()
            return status, changed.encode()

        self.proxy.spoil = answered

    def params(self, **more: typing.Any) -> dict[str, typing.Any]:
        nobody = "http://127.0.0.1:1"
        return {
            "driver": "aws_alb",
            "app_name": "shop",
            "state_dir": str(self.state),
            "admin": self.aws.rule,
            "target_groups": self.aws.names,
            "preview": {"blue": nobody, "green": nobody},
            **more,
        }

    def module(self, capsys: pytest.CaptureFixture[str], **more: typing.Any) -> dict[str, typing.Any]:
        """Run lb_switch whole; return its result."""
        with patch_module_args(self.params(**more)), pytest.raises(SystemExit):
            lb_switch.main()
        return dict(json.loads(capsys.readouterr().out))


def test_before_the_first_release_nothing_is_live(alb: Alb) -> None:
    seen = alb.observe()
    assert (seen["live"], seen["answering"], seen["seats"], seen["server_states"]) == ("none", True, {}, {})
    assert seen["door"]["state"] == "open"
    assert seen["pools"]["green"] == {
        "servers": ["10.0.0.1:8002", "10.0.0.2:8002"],
        "hosts": [],
        "up": ["10.0.0.1:8002", "10.0.0.2:8002"],
        "in_flight": {},
    }
    assert alb.driver().in_flight() is None
    assert not alb.proxy.written


@pytest.mark.parametrize("kind", ["rule", "listener"])
def test_a_switch_is_one_call_and_the_same_again_is_none(alb: Alb, kind: str) -> None:
    arn = {"rule": alb.aws.rule, "listener": alb.aws.listener}[kind]
    call = {"rule": "ModifyRule", "listener": "ModifyListener"}[kind]
    for number, (old, new) in enumerate((("none", "blue"), ("blue", "green"), ("green", "blue")), 1):
        result = alb.switch(new, old, driver=alb.driver(arn))
        assert (result["changed"], result["live"], result["previous"]) == (True, new, old)
        assert result["diff"] == {"before": f"{old}\n", "after": f"{new}\n"}
        assert not alb.switch(new, new, driver=alb.driver(arn))["changed"]
        assert alb.proxy.written == [call] * number
        listener = alb.aws.client.describe_listeners(ListenerArns=[alb.aws.listener])["Listeners"][0]
        weights = {"blue": (100, 0, False), "green": (0, 100, False)}[new]
        assert alb.aws.weights(listener["DefaultActions"] if kind == "listener" else None) == weights
    # The one that was not named is as it was.
    assert alb.aws.weights(listener["DefaultActions"] if kind == "rule" else None) == (0, 0, False)


@pytest.mark.parametrize(("live", "idle"), [("blue", "green"), ("green", "blue")])
def test_a_share_grows_is_taken_back_and_never_mistaken_for_the_other_slot(alb: Alb, live: str, idle: str) -> None:
    alb.switch(live)
    for share in (1, 25, 50, 75, 99, 0, 5, 100):
        result = alb.switch(idle, live, share=share)
        assert (result["changed"], result["share"]) == (True, share % 100)
        assert result["live"] == (idle if share == 100 else live)
        weights = dict(zip(("blue", "green"), alb.aws.weights()[:2], strict=True))
        assert weights[idle] * 100 == share * sum(weights.values())
        config = alb.aws.actions()[-1]["ForwardConfig"]["TargetGroupStickinessConfig"]
        steady = {"Enabled": True, "DurationSeconds": STEADY_SECONDS}
        assert config == (steady if 0 < share < 100 else {"Enabled": False})
        assert not alb.switch(idle, share=share, min_up=0)["changed"] if share not in (0, 100) else True
    assert alb.switch(live, idle, share=30)["live"] == idle


def test_the_way_back_ends_a_share_at_once(alb: Alb) -> None:
    alb.switch("blue")
    alb.switch("green", "blue", share=75)
    assert alb.switch("blue")["changed"]
    assert alb.aws.weights() == (100, 0, False)


def test_what_holds_clients_in_a_slot_or_does_not_is_mended(alb: Alb) -> None:
    held = alb.aws.forward(1, 0)
    held["ForwardConfig"]["TargetGroupStickinessConfig"] = {"Enabled": True, "DurationSeconds": 60}
    alb.aws.set(held)
    assert "hold clients" in alb.driver().routing({}).unsettled
    assert alb.switch("blue", "blue")["changed"]
    assert alb.aws.weights() == (100, 0, False)
    alb.aws.set(alb.aws.forward(700 - 175, 175))
    assert "change between" in alb.driver().routing({}).unsettled
    assert alb.switch("green", "blue", share=25)["changed"]
    assert alb.aws.weights() == (525, 175, True)


def test_another_live_slot_than_the_expected_one_is_refused(alb: Alb) -> None:
    alb.switch("blue")
    alb.proxy.asked.clear()
    with pytest.raises(BatonError, match=r"Found: blue is live.*Expected: none to be live"):
        alb.switch("green", "none")
    assert not alb.proxy.written


def test_an_older_lease_is_refused(alb: Alb) -> None:
    alb.switch("blue", token=3)
    with pytest.raises(BatonError, match="has seen lease 3"):
        alb.switch("green", token=2)
    assert (alb.proxy.written, alb.aws.weights()) == (["ModifyRule"], (100, 0, False))


def test_check_mode_writes_nothing_anywhere(alb: Alb) -> None:
    result = alb.switch("blue", "none", token=3, check_mode=True)
    assert (result["changed"], result["live"]) == (True, "blue")
    assert not alb.proxy.written
    assert not alb.state.exists()


def test_what_somebody_else_has_made_of_the_rule_is_named_and_left_alone(alb: Alb) -> None:
    stranger = alb.aws.target_group(f"{alb.aws.name}-stranger")
    alone = {"Type": "forward", "TargetGroupArn": stranger}
    page = {"Type": "fixed-response", "FixedResponseConfig": {"StatusCode": "503"}}
    for action, found in (
        (alb.aws.forward(50, 50), "weights blue 50 and green 50, which lb_switch has not set"),
        (alb.aws.forward(75, 25), "weights blue 75 and green 25"),
        (alb.aws.forward(699, 1), "weights blue 699 and green 1"),
        (alb.aws.forward(1, 0, **{stranger: 0}), f"forwards to {stranger}"),
        (alone, f"forwards to {stranger}"),
        (page, "answers users by fixed-response"),
    ):
        alb.aws.set(action)
        for attempt in (
            alb.observe,
            lambda: alb.switch("green", min_up=0),
            lambda: alb.switch("blue", check_mode=True),
        ):
            with pytest.raises(BatonError, match=found):
                attempt()
    assert not alb.proxy.written


def test_a_rule_with_one_target_group_gets_the_other_one(alb: Alb) -> None:
    alb.aws.set({"Type": "forward", "TargetGroupArn": alb.aws.groups["blue"]})
    assert alb.observe()["live"] == "blue"
    assert not alb.switch("blue")["changed"]
    assert alb.switch("green", "blue")["changed"]
    assert alb.aws.weights() == (0, 100, False)


def test_a_rule_that_is_gone_is_named(alb: Alb) -> None:
    alb.aws.client.delete_rule(RuleArn=alb.aws.rule)
    with pytest.raises(BatonError, match=r"Found: .*(RuleNotFound|AWS does not know).*correct traffic_admin"):
        alb.observe()
    gone = alb.aws.listener[:-4] + "0000"
    with pytest.raises(BatonError, match=r"Found: .*(ListenerNotFound|AWS does not know).*correct traffic_admin"):
        alb.driver(gone).routing({})
    alb.rewrite("DescribeListeners", "<Listeners>.*</Listeners>", "<Listeners/>")
    with pytest.raises(BatonError, match="which AWS does not know"):
        alb.driver(alb.aws.listener).routing({})


def test_the_default_rule_is_changed_by_its_listener_only(alb: Alb) -> None:
    rules = alb.aws.client.describe_rules(ListenerArn=alb.aws.listener)["Rules"]
    (default,) = [one["RuleArn"] for one in rules if one["IsDefault"]]
    with pytest.raises(BatonError, match="the default rule of a listener"):
        alb.switch("blue", driver=alb.driver(default))
    assert not alb.proxy.written


def test_a_change_between_reading_and_writing_is_not_overwritten(alb: Alb) -> None:
    alb.switch("blue")
    reads = itertools.count(1)

    def somebody(asked: str, ask: typing.Callable[[], Answer]) -> Answer:
        if asked == "DescribeRules" and next(reads) == 2:
            alb.aws.set(alb.aws.forward(0, 1))
        return ask()

    alb.proxy.spoil = somebody
    alb.proxy.asked.clear()
    with pytest.raises(BatonError, match=r"was changed since it was read, and goes by green"):
        alb.switch("green", "blue", share=5)
    assert not alb.proxy.written


def test_a_login_before_the_app_is_kept_with_its_secret(alb: Alb) -> None:
    login = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": OIDC}
    cognito = {
        "UserPoolArn": f"arn:aws:cognito-idp:{REGION}:{ACCOUNT}:userpool/x",
        "UserPoolClientId": "y",
        "UserPoolDomain": "z",
    }
    for first in (login, {"Type": "authenticate-cognito", "Order": 1, "AuthenticateCognitoConfig": cognito}):
        alb.aws.set(first, {**alb.aws.forward(1, 0), "Order": 2})
        alb.proxy.asked.clear()
        assert alb.switch("green", "blue")["changed"]
        before, forward = alb.aws.actions()
        assert (forward["Order"], alb.aws.weights()) == (2, (0, 100, False))
        if first is login:
            kept = {name: value for name, value in OIDC.items() if name != "ClientSecret"}
            assert before == {**login, "AuthenticateOidcConfig": {**kept, "UseExistingClientSecret": True}}
        else:
            assert before == first
        (sent,) = [json.dumps(parameters) for action, parameters in alb.proxy.asked if action == "ModifyRule"]
        assert "hush" not in sent


def test_actions_may_be_listed_in_any_order(alb: Alb) -> None:
    login = {"Type": "authenticate-oidc", "Order": 1, "AuthenticateOidcConfig": OIDC}
    alb.aws.set({**alb.aws.forward(1, 0), "Order": 2}, login)
    assert alb.switch("green", "blue")["changed"]
    assert [one["Type"] for one in alb.aws.actions()] == ["authenticate-oidc", "forward"]


def test_certificates_and_conditions_stay(alb: Alb) -> None:
    certificate = alb.aws.moto.client("acm").request_certificate(DomainName="shop.example.com")["CertificateArn"]
    arn = alb.aws.client.create_listener(
        LoadBalancerArn=alb.aws.balancer,
        Protocol="HTTPS",
        Port=443,
        SslPolicy="ELBSecurityPolicy-TLS13-1-2-2021-06",
        Certificates=[{"CertificateArn": certificate}],
        DefaultActions=[alb.aws.forward(1, 0)],
    )["Listeners"][0]["ListenerArn"]

    def others() -> dict[str, typing.Any]:
        listener = alb.aws.client.describe_listeners(ListenerArns=[arn])["Listeners"][0]
        return {name: value for name, value in listener.items() if name != "DefaultActions"}

    before = others()
    assert before["Certificates"] == [{"CertificateArn": certificate}]
    assert alb.switch("green", "blue", driver=alb.driver(arn))["changed"]
    assert others() == before
    alb.switch("blue", "none")
    (rule,) = alb.aws.client.describe_rules(RuleArns=[alb.aws.rule])["Rules"]
    assert (rule["Priority"], rule["Conditions"][0]["Values"]) == ("1", ["/shop/*"])


def test_targets_that_are_not_healthy_are_not_up(alb: Alb) -> None:
    alb.rewrite("DescribeTargetHealth", "<State>healthy</State>", "<State>unhealthy</State>")
    with pytest.raises(BatonError, match=r"it reports no server up of \['10.0.0.1:8001', '10.0.0.2:8001'\]"):
        alb.switch("blue", "none", min_up=1)
    assert not alb.proxy.written
    for state in ("initial", "unused", "unavailable"):
        alb.rewrite("DescribeTargetHealth", "<State>healthy</State>", f"<State>{state}</State>")
        assert alb.observe()["pools"]["blue"]["up"] == []
    # One that was taken out is no server of the slot any more.
    alb.rewrite("DescribeTargetHealth", "<State>healthy</State>", "<State>draining</State>")
    assert alb.observe()["pools"]["blue"]["servers"] == []
    assert alb.switch("blue", "none", min_up=0)["changed"]


def test_the_servers_of_ipv6_can_be_told_from_their_ports(alb: Alb) -> None:
    alb.rewrite("DescribeTargetHealth", "<Id>10.0.0.1</Id>", "<Id>fd00::1</Id>")
    assert alb.observe()["pools"]["blue"]["up"] == ["[fd00::1]:8001", "10.0.0.2:8001"]


def test_too_few_targets_are_too_few(alb: Alb) -> None:
    with pytest.raises(BatonError, match="at least 3 servers up"):
        alb.switch("blue", "none", min_up=3)
    assert not alb.proxy.written


def test_what_aws_does_not_show_is_not_believed(alb: Alb) -> None:
    done = (
        b'<ModifyRuleResponse xmlns="http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/">'
        b"<ModifyRuleResult><Rules/></ModifyRuleResult></ModifyRuleResponse>"
    )
    alb.spoil("ModifyRule", (200, done))
    with pytest.raises(BatonError, match=r"was changed, and still goes by none\. Expected: blue within 0\.5 s"):
        alb.switch("blue", "none")


def test_what_aws_shows_later_is_waited_for(alb: Alb) -> None:
    reads = itertools.count(1)
    before: list[Answer] = []

    def late(asked: str, ask: typing.Callable[[], Answer]) -> Answer:
        if asked != "DescribeRules":
            return ask()
        number = next(reads)
        before.append(ask())
        return before[0] if number <= 4 else before[-1]

    alb.proxy.spoil = late
    assert alb.switch("blue", "none", driver=alb.driver(patience=10.0))["live"] == "blue"
    assert len(before) >= 5


def test_a_lost_answer_is_told_by_what_aws_shows(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_boto3, "_ATTEMPTS", 1)
    alb.spoil("ModifyRule", refusal("InternalFailure", status=500), done=True)
    assert alb.switch("blue", "none")["live"] == "blue"
    alb.spoil("ModifyRule", refusal("InternalFailure", status=500))
    with pytest.raises(BatonError, match=r"changed \(AWS cannot answer ModifyRule now.*\), and still goes by blue"):
        alb.switch("green", "blue")


def test_throttling_is_waited_out_and_then_named(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    alb.spoil("ModifyRule", refusal("Throttling", "Rate exceeded"), times=1)
    assert alb.switch("blue", "none")["changed"]
    assert alb.proxy.written == ["ModifyRule", "ModifyRule"]
    monkeypatch.setattr(_boto3, "_ATTEMPTS", 1)
    alb.made.clear()
    alb.spoil("DescribeRules", refusal("Throttling", "Rate exceeded"))
    with pytest.raises(BatonError, match=r"AWS cannot answer DescribeRules now, .*Rate exceeded"):
        alb.observe()
    alb.spoil("DescribeTargetHealth", refusal("Throttling", "Rate exceeded"))
    assert alb.driver().pools() is None


def test_a_refusal_of_aws_is_said_in_words(alb: Alb) -> None:
    for code, found in (
        ("AccessDenied", r"AWS does not allow ModifyRule \(AccessDenied: No\.\).*elasticloadbalancing:ModifyRule"),
        ("TargetGroupAssociationLimit", r"AWS refuses ModifyRule \(TargetGroupAssociationLimit: No\.\)"),
        ("ExpiredToken", r"no answer to ModifyRule .*\(ExpiredToken\).*credentials that AWS takes"),
    ):
        alb.spoil("ModifyRule", refusal(code))
        with pytest.raises(BatonError, match=found):
            alb.switch("blue", "none")
    assert alb.aws.weights() == (0, 0, False)


def test_what_aws_says_of_a_signature_is_not_repeated(alb: Alb) -> None:
    text = "The Canonical String should have been x-amz-security-token:hush"
    alb.spoil("DescribeRules", refusal("SignatureDoesNotMatch", text, 403))
    with pytest.raises(BatonError, match="SignatureDoesNotMatch") as caught:
        alb.observe()
    assert "hush" not in str(caught.value)


def test_an_answer_that_is_none_of_aws_is_said_in_words(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_boto3, "_ATTEMPTS", 1)
    alb.spoil("DescribeRules", (200, b"<html>Please log in"))
    with pytest.raises(BatonError, match="what answers DescribeRules is not AWS"):
        alb.observe()
    alb.spoil("DescribeRules", (200, b"<html><body>Please log in</body></html>"))
    with pytest.raises(BatonError, match="what answers DescribeRules is not AWS"):
        alb.observe()


def test_without_credentials_nothing_is_asked(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for attempt in (alb.observe, lambda: alb.switch("blue", wait=60.0)):
        with pytest.raises(BatonError, match=r"Unable to locate credentials.*Expected: credentials that AWS takes"):
            attempt()
    assert not alb.proxy.asked


def test_what_boto3_cannot_use_is_named(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value, found in (
        ("AWS_PROFILE", "nobody", r"cannot use.*profile \(nobody\)"),
        ("AWS_ENDPOINT_URL", "nowhere", "cannot use.*nowhere"),
    ):
        with monkeypatch.context() as patch:
            patch.setenv(name, value)
            with pytest.raises(BatonError, match=found):
                alb.driver(patience=0.1).routing({})


def test_an_endpoint_that_is_down_is_silent(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_boto3, "_ATTEMPTS", 1)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://ann:hush@127.0.0.1:1")
    assert alb.driver().pools() is None
    with pytest.raises(
        BatonError, match=r"AWS does not answer DescribeRules.*127\.0\.0\.1:1.*AWS_ENDPOINT_URL"
    ) as caught:
        alb.switch("blue", "none")
    assert "hush" not in str(caught.value)
    assert not (alb.state / "switch.json").exists()


def test_target_groups_are_found_by_name_on_any_page(alb: Alb) -> None:
    alb.rewrite(
        "DescribeTargetGroups", "<TargetGroups>.*</TargetGroups>", "<TargetGroups/><NextMarker>2</NextMarker>", times=1
    )
    assert alb.switch("blue", "none", driver=alb.driver(target_groups=alb.aws.names))["changed"]
    assert alb.proxy.actions.count("DescribeTargetGroups") == 2
    alb.proxy.spoil = None
    blue = alb.aws.names["blue"]
    with pytest.raises(
        BatonError, match=r"AWS refuses DescribeTargetGroups \(TargetGroupNotFound.*traffic_target_groups"
    ):
        alb.switch("blue", driver=alb.driver(target_groups={"blue": blue, "green": "gren"}))
    with pytest.raises(BatonError, match="for both slots"):
        alb.switch("blue", driver=alb.driver(target_groups={"blue": blue, "green": alb.aws.groups["blue"]}))


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"admin": None}, "Found: nothing as what is to be switched"),
        ({"admin": "http://127.0.0.1:2019"}, "Expected: the ARN of a listener or a listener rule"),
        ({"admin": f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:listener/net/x/1/2"}, "of an Application Load"),
        ({"admin": f"arn:aws:elasticloadbalancing:{REGION}:{ACCOUNT}:loadbalancer/app/x/1"}, "of an Application Load"),
        ({"target_groups": None}, "the target groups blue none, green none"),
        ({"target_groups": {"blue": "shop-blue"}}, "blue shop-blue, green none"),
        ({"target_groups": {"blue": "shop", "green": "shop"}}, "blue shop, green shop"),
        ({"target_groups": {"blue": "shop", "green": "../x"}}, r"green \.\./x"),
        ({"slot": "mixed"}, "the driver aws_alb has no seats"),
        ({"state": "held"}, "aws_alb, which cannot hold requests or show a maintenance page"),
        ({"state": "maintenance"}, "show a maintenance page"),
        ({"state": "servers", "server_states": {"app1": "drain"}}, "driver aws_alb, which cannot put one server"),
    ],
)
def test_what_it_cannot_do_is_refused_before_aws_is_asked(
    alb: Alb, capsys: pytest.CaptureFixture[str], changed: dict[str, typing.Any], found: str
) -> None:
    result = alb.module(capsys, **{"slot": "blue", **changed})
    assert result["failed"]
    assert re.search(found, result["msg"]), result["msg"]
    assert not alb.proxy.asked


def test_the_module_switches_warns_and_reads(
    alb: Alb, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # Where another test has loaded Ansible's own side into this process, warnings would go to its display.
    monkeypatch.setattr("ansible.module_utils._internal.is_controller", False)
    result = alb.module(capsys, slot="blue", expected="none", min_up=2, token=1)
    assert (result["changed"], result["live"], result["newest_token"]) == (True, "blue", 1)
    assert "preview" in json.dumps(result["warnings"])
    assert "hush" not in json.dumps(result)
    again = alb.module(capsys, slot="blue", min_up=2, token=1, _ansible_check_mode=True)
    assert not again["changed"]
    seen = alb.module(capsys, state="gathered")
    assert (seen["live"], seen["changed"]) == ("blue", False)
    assert alb.module(capsys, state="open")["changed"] is False
    assert "has seen lease 1" in alb.module(capsys, slot="green", token=0)["msg"]
    written = json.loads((alb.state / "switch.json").read_text())
    assert (written["from"], written["to"], alb.proxy.written) == ("none", "blue", ["ModifyRule"])


def test_a_host_without_boto3_is_told_what_to_install(alb: Alb) -> None:
    program = (
        "import json, sys\n"
        "sys.modules['boto3'] = None\n"
        "from ansible.module_utils.testing import patch_module_args\n"
        "from ansible_collections.baton.release.plugins.modules import lb_switch\n"
        "with patch_module_args(json.load(sys.stdin)): lb_switch.main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(alb.params(slot="blue")),
        env={**os.environ, "PYTHONPATH": str(COLLECTIONS)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"no Python package boto3 for .*-m pip install boto3", json.loads(run.stdout)["msg"]), run
    assert "Traceback" not in run.stderr


def test_a_boto3_that_is_too_old_is_refused(alb: Alb, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("boto3.__version__", "1.27.9")
    with pytest.raises(BatonError, match=r"Found: boto3 1\.27\.9"):
        alb.observe()
