"""Internal paths in tokens, replaced by paths of this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from gaia_local.runtimes.process.path_mapping import localize, misread, undeclared
from support.builders import COPY, step
from support.fixtures import MakeGaia

PATHS = ("/in/a", "/out/x", "/out/dir/", "/in/long name", "/in/a/deep", "/in/c++(1)")


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        # whole tokens
        ("/in/a", "T/in/a"),
        ("/in/a/x", "T/in/a/x"),
        ("/in/a/", "T/in/a/"),
        ("/in/a/deep", "T/in/a/deep"),
        ("/in/a/deeper", "T/in/a/deeper"),
        ("/in/a/../b", "T/in/a/../b"),
        ("/out/dir", "T/out/dir"),
        ("/out/dir/", "T/out/dir/"),
        ("/out/dir/x.txt", "T/out/dir/x.txt"),
        ("/in/long name", "T/in/long name"),
        ("/in/c++(1)", "T/in/c++(1)"),
        ("", ""),
        ("true", "true"),
        # in the middle of a token
        ("--out=/out/x", "--out=T/out/x"),
        ("-o/out/x", "-oT/out/x"),
        ("-I/in/a", "-IT/in/a"),
        ("-isystem/in/a", "-isystemT/in/a"),
        ("-Wl,-rpath,/in/a", "-Wl,-rpath,T/in/a"),
        ("-Wl,-L/in/a", "-Wl,-LT/in/a"),
        ("cc -I/in/a -o/out/x", "cc -IT/in/a -oT/out/x"),
        ("@/in/a", "@T/in/a"),
        ("file:///in/a", "file://T/in/a"),
        ("a:/in/a:b", "a:T/in/a:b"),
        ("/in/a:/out/x", "T/in/a:T/out/x"),
        ("/in/a,/out/x", "T/in/a,T/out/x"),
        ("'/in/a'", "'T/in/a'"),
        ('{"in": "/in/a", "out": ["/out/x"]}', '{"in": "T/in/a", "out": ["T/out/x"]}'),
        ("cat /in/a>/out/x", "cat T/in/a>T/out/x"),
        ("cat</in/a|sort>/out/x;ls", "cat<T/in/a|sort>T/out/x;ls"),
        ("(cat /in/a)", "(cat T/in/a)"),
        ("$(cat /in/a)&& x", "$(cat T/in/a)&& x"),
        ("`/in/a`", "`T/in/a`"),
        ("cp /in/a/* /out/dir", "cp T/in/a/* T/out/dir"),
        ("ls /in/a*", "ls T/in/a*"),
        ("s#/in/a#/out/x#", "s#T/in/a#T/out/x#"),
        ("grep '^/in/a$'", "grep '^T/in/a$'"),
        ("a\n/in/a\nb", "a\nT/in/a\nb"),
        (r"print('x\n/in/a\n')", r"print('x\nT/in/a\n')"),
        ("#!/in/a", "#!T/in/a"),
        # at the end of a sentence
        ("/in/a.", "T/in/a."),
        ("look at /in/a. Then", "look at T/in/a. Then"),
        ("/in/a...", "T/in/a..."),
        ("/in/a?", "T/in/a?"),
        # parts of longer names
        ("/in/ab", "/in/ab"),
        ("/in/a.txt", "/in/a.txt"),
        ("/in/a..b", "/in/a..b"),
        ("/in/a-b", "/in/a-b"),
        ("/in/a_b", "/in/a_b"),
        ("/in/a+", "/in/a+"),
        ("/in/a~", "/in/a~"),
        ("/in/a%d", "/in/a%d"),
        ("/in/aé", "/in/aé"),
        ("/in/ae\u0301", "/in/ae\u0301"),
        ("/in/a\u0301", "/in/a\u0301"),
        ("/out/directory", "/out/directory"),
        ("/in/long names", "/in/long names"),
        # parts of longer paths
        ("/data/in/a", "/data/in/a"),
        ("data/in/a", "data/in/a"),
        ("./in/a", "./in/a"),
        ("../in/a", "../in/a"),
        ("~/in/a", "~/in/a"),
        ("*/in/a", "*/in/a"),
        ("foo-/in/a", "foo-/in/a"),
        ("foo-I/in/a", "foo-I/in/a"),
        ("/x/-I/in/a", "/x/-I/in/a"),
        ("$HOME/in/a", "$HOME/in/a"),
        ("${HOME}/in/a", "${HOME}/in/a"),
        ("$(pwd)/in/a", "$(pwd)/in/a"),
        ("s3://in/a", "s3://in/a"),
        ("http://host/in/a", "http://host/in/a"),
        ("//in/a", "//in/a"),
        ("/in", "/in"),
        ("/out", "/out"),
    ],
)
def test_internal_paths_in_tokens_are_localized(token: str, expected: str) -> None:
    assert localize([token], PATHS, "/T") == (
        expected.replace("T", "/T") if "Then" not in token else expected.replace("T/", "/T/"),
    )


def test_localize_prefers_the_longest_path_whatever_the_order() -> None:
    for paths in (("/in/a b", "/in/a", "/in/a b c"), ("/in/a", "/in/a b c", "/in/a b")):
        assert localize(["/in/a b c/x", "/in/a b", "/in/a bc", "/in/a"], paths, "/T") == (
            "/T/in/a b c/x",
            "/T/in/a b",
            "/T/in/a bc",
            "/T/in/a",
        )


@pytest.mark.parametrize("tree", ["/tmp/out/x/in/a", "/out/x", r"/t/\1\g<path>"])
def test_localize_never_looks_at_what_it_put_in(tree: str) -> None:
    assert localize(["cat /in/a > /out/x"], ("/in/a", "/out/x"), tree) == (
        f"cat {tree}/in/a > {tree}/out/x",
    )


def test_localize_without_paths_changes_nothing() -> None:
    assert localize(["sh", "-c", "cat /in/a"], (), "/T") == ("sh", "-c", "cat /in/a")
    assert localize(["/"], ("/",), "/T") == ("/",)


def test_localize_accepts_any_iterable() -> None:
    assert localize(iter(["/in/a"]), iter(["/in/a"]), "/T") == ("/T/in/a",)


@pytest.mark.parametrize(
    ("token", "path"),
    [
        ("cat /in/*", "/in/*"),
        ("cat /in/*.fq > /out/x", "/in/*.fq"),
        ("ls /in", "/in"),
        ("ls /in/", "/in"),
        ("mv /out/tmp /out/x", "/out/tmp"),
        ("cat /in/a.txt", "/in/a.txt"),
        ("--from=/in/b,/in/a", "/in/b"),
        ("print('/in/b')", "/in/b"),
        ("look at /in.", "/in"),
        ("cat /in/a /in/a/x /out/dir/y", None),
        ("cat /tmp/other /etc/passwd / //", None),
        ("http://host/in/b", None),
        ("sort", None),
    ],
)
def test_a_path_beside_the_declared_ones_is_found(token: str, path: str | None) -> None:
    assert undeclared(["sh", "-c", token], [*PATHS, "/tmp/file"]) == path


def test_existing_host_paths_are_allowed(tmp_path: Path) -> None:
    assert undeclared([f"cat {tmp_path}/other"], [f"{tmp_path}/file"]) is None
    assert (
        undeclared([f"cat {tmp_path}/none/other"], [f"{tmp_path}/none/file"])
        == f"{tmp_path}/none/other"
    )


@pytest.mark.parametrize(
    ("token", "tree", "expected"),
    [
        ("cp /in/a /out/x", "/plain/é-1_2.3@x%+=,:y", None),
        ("cp /in/a /out/x", "/a b", " "),
        ("cp /in/a /out/x", "/a&b", "&"),
        ("cp /in/a /out/x", "/a;b", ";"),
        ("cp /in/a /out/x", "/a`b", "`"),
        ("cp /in/a /out/x", "/a$b", "$"),
        ("cp /in/a /out/x", "/a\nb", "\n"),
        ("cp '/in/a' '/out/x'", "/a b&c;$d`", None),
        ("cp '/in/a' '/out/x'", "/a b'c", "'"),
        ("cp '/in/a' /out/x", "/a b", " "),
        ('cp "/in/a" "/out/x"', "/a b&c;d'", None),
        ('cp "/in/a" "/out/x"', "/a$b", "$"),
        ('cp "/in/a" "/out/x"', "/a\\b", "\\"),
        ("/in/a", "/a b$c", None),
        ("--out=/out/x", "/a b$c", None),
        ("/in/a b", "/a b$c", None),
        ("cp elsewhere there", "/a b", None),
    ],
)
def test_code_that_would_misread_the_tree(token: str, tree: str, expected: str | None) -> None:
    assert misread(["sh", "-c", token], ("/in/a", "/in/a b", "/out/x"), tree) == expected


def test_a_root_that_shell_code_would_misread(tmp_path: Path, make_gaia: MakeGaia) -> None:
    (tmp_path / "a").write_text("kept")
    gaia = make_gaia(root=tmp_path / "a b", runtime="process")
    quoted = {**COPY, "name": "quoted", "command": ["sh", "-c", "cp '/in/a' '/out/x'"]}
    bare = {**COPY, "name": "bare", "command": ["sh", "-c", "rm -f /out/x; cp /in/a /out/x"]}
    gaia.path("w", "b:a").parent.mkdir(parents=True)
    gaia.path("w", "b:a").write_text("text")
    steps = [step("one", "quoted", "b:b", "b:a"), step("two", "bare", "b:c", "b:a")]
    gaia.upload("w", {}, [quoted, bare], steps)
    assert gaia.wait("w", 20)["state"] == "error"
    assert gaia.path("w", "b:b").read_text() == "text"
    (error,) = (event for event in gaia.events("w") if event["event"] == "task-error")
    assert "misread the ' '" in str(error.get("message"))
    assert (tmp_path / "a").read_text() == "kept"
