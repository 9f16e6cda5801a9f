# Copyright: the baton.release founders
# GNU General Public License v3.0+ (see LICENSE)
"""Configurations of HAProxy and nginx, read as these read them."""

from __future__ import annotations

from pathlib import Path

import pytest
from ansible_collections.baton.release.plugins.module_utils.adopt_listeners import overlap
from ansible_collections.baton.release.plugins.module_utils.haproxy_config import parse
from ansible_collections.baton.release.plugins.module_utils.nginx_config import directives, every, included

HAPROXY = """\
# before all
global # of the process
    log /dev/log local0
defaults
\tmode   http
frontend www
  bind *:80   # a comment with 'a quote
  log-format '{"a":"#b c"}' # and another
    acl path_a path -m reg ^/a\\ b$

# between
  backend web
    server web1 127.0.0.1:80
"""
MORE = """\
defaults mine
    mode tcp
backend of_mine
    balance 'it goes on
backend of_the_first from mine
"""


def test_sections_of_a_haproxy_with_their_lines_and_defaults() -> None:
    sections = parse([("a", HAPROXY), ("b", MORE)])
    assert [(one.title, one.path, one.first, one.last) for one in sections] == [
        ("global", "a", 2, 3),
        ("defaults", "a", 4, 5),
        ("frontend www", "a", 6, 9),
        ("backend web", "a", 12, 13),
        ("defaults mine", "b", 1, 2),
        ("backend of_mine", "b", 3, 4),
        ("backend of_the_first", "b", 5, 5),
    ]
    by_title = {one.title: one for one in sections}
    www = by_title["frontend www"]
    assert [line.words for line in www.lines] == [
        ("bind", "*:80"),
        ("log-format", '{"a":"#b c"}'),
        ("acl", "path_a", "path", "-m", "reg", "^/a b$"),
    ]
    assert [line.words for line in www.inherited] == [("mode", "http")]
    assert [line.words for line in by_title["backend of_mine"].inherited] == [("mode", "tcp")]
    assert by_title["backend of_the_first"].defaults is by_title["defaults mine"]
    assert by_title["global"].defaults is None
    assert by_title["backend web"].values("server") == [("web1", "127.0.0.1:80")]


def test_directives_of_an_nginx_with_their_lines_and_includes(tmp_path: Path) -> None:
    main, site = tmp_path / "nginx.conf", tmp_path / "sites/one.conf"
    site.parent.mkdir()
    main.write_text(
        "user root; # a } and a ;\n"
        "events { }\n"
        "http {\n"
        "    log_format x '{ \"a\": $b; }' # }\n"
        '    "$c";\n'
        "    include sites/*.conf; include /nowhere/*;\n"
        "    map $a $b { default ${c}d; }\n"
        "}\n"
    )
    site.write_text('server {\n    listen 80;\n    location ~ "^/{2}" {\n        return 200 a\\;b;\n    }\n}\n')
    tree = directives(main)
    assert [(one.name, one.first, one.last) for one in tree] == [("user", 1, 1), ("events", 2, 2), ("http", 3, 8)]
    (log_format,) = every(tree, "log_format")
    assert (log_format.arguments, log_format.first, log_format.last) == (("x", '{ "a": $b; }', "$c"), 4, 5)
    (server,) = every(tree, "server")
    assert (server.path, server.first, server.last) == (str(site), 1, 6)
    (location,) = every(tree, "location")
    assert (location.arguments, location.first, location.last) == (("~", "^/{2}"), 3, 5)
    assert [one.arguments for one in every(tree, "return")] == [("200", "a\\;b")]
    assert [one.arguments for one in every(tree, "default")] == [("${c}d",)]
    assert included(tmp_path / "sites/new.conf", main)
    assert not included(tmp_path / "sites/new.txt", main)
    # By a file that is included, as well.
    site.write_text("include more.d/*;\n")
    assert included(tmp_path / "more.d/new", main)
    assert directives(tmp_path / "none") == ()


def test_a_file_that_includes_itself_ends(tmp_path: Path) -> None:
    main = tmp_path / "nginx.conf"
    main.write_text("http { include nginx.conf; }\n")
    assert next(iter(directives(main))).name == "http"


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("127.0.0.1:80", "*:80", True),
        ("127.0.0.1:80", "127.0.0.2:80", False),
        (":80", "[::]:80", True),
        ("80", "0.0.0.0:80", True),
        ("127.0.0.1:80", "127.0.0.1:8080", False),
        ("ipv4@127.0.0.1:80", "127.0.0.1:80", True),
        ("unix:/run/a:80", ":80", False),
        ("/run/a.sock", ":80", False),
    ],
)
def test_addresses_that_overlap(one: str, other: str, *, both: bool) -> None:
    assert overlap(one, other) is both
