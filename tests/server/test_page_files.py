"""A Step's files on the status page: where they lie, what they hold, and that they change nothing
else; and the failure that a Step's panel opens with."""

from __future__ import annotations

import json
import os
import re
import tarfile
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from support.builders import command, step
from support.gates import Fifo
from support.status_page import HOSTILE, Site, chain, held, talk

DOT = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154"
    "08d763f8cfc000000301010018dd8db00000000049454e44ae426082"
)
"""A picture of one pixel, as PNG."""


def pdf() -> bytes:
    """One page, with a few words."""
    drawn = b"BT /F1 24 Tf 20 100 Td (Hello) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Contents 4 0 R"
        b"/Resources<</Font<</F1 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream" % (len(drawn), drawn),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    body = b"%PDF-1.4\n"
    places = []
    for number, each in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, each)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    return (
        b"%sxref\n0 6\n0000000000 65535 f \n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF"
        % (*(body, table, len(body)),)
    )


def reader(site: Site, files: dict[str, bytes]) -> Path:
    """A Step `s` that has read the directory `k:in/` with these files."""
    top = site.gaia.path("me_files", "k:in/")
    top.mkdir(parents=True)
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)
    reads = command("read", "echo made > /out/x", "in/")
    inputs = {"in/": "k:in/"}
    site.gaia.upload("me_files", {}, [reads], [step("s", "read", "k:out", inputs=inputs)])
    site.gaia.wait("me_files")
    return top


def key(page: Page, name: str) -> Locator:
    """The row of a storage key in the panel."""
    return page.locator(".keys > li").filter(has=page.get_by_text(name, exact=True)).first


def opened(page: Page, name: str) -> Locator:
    """The preview of a file in the opened directory `k:in/`."""
    row = key(page, "k:in/")
    if row.locator(".tree").count() == 0:
        row.get_by_role("button", name="Preview of k:in/").click()
    entry = row.locator(".tree > li").filter(has=page.get_by_role("button", name=name, exact=True))
    entry.get_by_role("button", name=name, exact=True).click()
    return entry.locator(".preview").first


# ---------------------------------------------------------------------------------------- failures


def test_a_failed_step_opens_with_the_end_of_its_log_above_all_facts(site: Site) -> None:
    lines = "; ".join(f"echo line {number}" for number in range(30))
    chain(site.gaia, "me_bad", f"{lines}; echo {'x' * 30}; exit 3")
    site.gaia.wait("me_bad")
    page = site.go("me_bad", "two")
    failure = page.get_by_role("region", name="Failure")
    expect(failure).to_contain_text("code 3")
    tail = failure.locator(".tail")
    expect(tail).to_contain_text("line 29")
    expect(tail).not_to_contain_text("line 15")
    first = page.locator(".panel .body > :visible").first
    expect(first).to_have_class("failure")
    box, facts = failure.bounding_box(), page.locator(".facts").bounding_box()
    assert box
    assert facts
    assert box["y"] < facts["y"]
    site.gaia.update("me_bad", [talk("go-on", "true", "a")])
    site.gaia.expire("me_bad", ["two"])
    expect(page.locator(".panel > header .badge")).to_have_text("complete")
    expect(failure).to_be_hidden()


def test_a_step_is_run_again_by_its_button(site: Site) -> None:
    chain(site.gaia, "me_again")
    site.gaia.wait("me_again")
    before = site.gaia.attempt("me_again", "two")["task"]
    page = site.go("me_again", "two")
    button = page.get_by_role("button", name="Run again")
    assert "Expire" in str(button.get_attribute("title"))
    expect(page.locator(".again")).to_contain_text("No other Step depends on it.")
    with page.expect_response(re.compile("/expire$")):
        button.click()
    site.gaia.wait("me_again")
    assert site.gaia.attempt("me_again", "two")["task"] != before


# -------------------------------------------------------------------------------------------- keys


def test_each_key_tells_its_place_its_size_and_its_steps(site: Site) -> None:
    chain(site.gaia, "me_keys")
    site.gaia.wait("me_keys")
    page = site.go("me_keys", "two")
    made, read = key(page, "k:two"), key(page, "k:one")
    expect(made.locator(".path")).to_have_text(str(site.gaia.path("me_keys", "k:two")))
    expect(made).to_contain_text("6 bytes")
    expect(made).to_contain_text("read by no Step")
    digest = site.gaia.keys("me_keys", "two")["outputs"][0]["digest"]
    assert digest
    expect(made.locator(".digest")).to_have_attribute("title", re.compile(digest))
    expect(read).to_contain_text("made by one")
    headings = page.locator(".panel h3:visible")
    assert [text.split()[0] for text in headings.all_inner_texts()][:3] == [
        *("Outputs", "Inputs", "Log")
    ]
    read.get_by_role("link", name="one", exact=True).click()
    expect(page.locator(".panel h2")).to_have_text("one")
    expect(key(page, "k:one")).to_contain_text("read by two")
    with page.expect_download() as download:
        key(page, "k:one").get_by_role("link", name="Download").click()
    assert Path(download.value.path()).read_text() == "begin\n"
    assert download.value.suggested_filename == "one"


def test_a_waiting_input_shows_where_it_is_to_be_put(site: Site) -> None:
    site.gaia.upload("me_wait", {}, [talk("c", "true", "a")], [step("s", "c", "k:x", "k:from/me")])
    page = site.go("me_wait", "s")
    path = site.gaia.path("me_wait", "k:from/me")
    row = key(page, "k:from/me")
    expect(row).to_contain_text("not there yet")
    expect(row).to_contain_text("no Step makes it")
    expect(row.locator(".place")).to_contain_text(f"Put it here: {path}")
    expect(key(page, "k:x")).to_contain_text("not made yet")
    expect(page.locator(".again button")).to_have_text("Run")
    path.parent.mkdir(parents=True)
    path.write_text("here\n")
    site.gaia.run("me_wait")
    expect(row).to_contain_text("5 bytes")
    expect(row).to_contain_text("yours")


def test_a_path_is_copied_or_selected_where_there_is_no_clipboard(site: Site) -> None:
    chain(site.gaia, "me_copy")
    site.gaia.wait("me_copy")
    page = site.go("me_copy", "one")
    path = str(site.gaia.path("me_copy", "k:one"))
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    button = key(page, "k:one").get_by_role("button", name="the path of k:one")
    button.click()
    expect(button).to_contain_text("Copied")
    assert page.evaluate("navigator.clipboard.readText()") == path
    expect(button).to_contain_text("Copy ")
    page.evaluate("Object.defineProperty(navigator, 'clipboard', { value: undefined })")
    button.click()
    expect(button).to_contain_text("Selected")
    assert page.evaluate("String(getSelection())") == path


def test_of_very_many_inputs_the_first_are_shown_until_all_are_wanted(site: Site) -> None:
    names = [f"in{number}" for number in range(120)]
    inputs = {name: f"k:{name}" for name in names}
    site.gaia.upload(
        "me_many", {}, [talk("c", "true", *names)], [step("s", "c", "k:x", inputs=inputs)]
    )
    page = site.go("me_many", "s")
    rows = page.locator(".keys > li")
    expect(rows).to_have_count(41)
    more = page.get_by_role("button", name="Show all 120", exact=True)
    more.click()
    expect(rows).to_have_count(121)
    expect(more).to_be_hidden()


def test_an_address_opens_a_key(site: Site) -> None:
    reader(site, {"a.txt": b"hello\n"})
    site.page.goto(f"{site.server.url}#/me_files/s?key=k%3Aout")
    expect(key(site.page, "k:out").locator(".sample")).to_have_text("made")


# ---------------------------------------------------------------------------------------- previews


def test_each_kind_of_file_is_shown(site: Site) -> None:
    table = "a,b\n" + "".join(f'{number},"x, ""{number}"""\n' for number in range(300))
    value = json.dumps({"list": list(range(250)), "deep": {"n": 12345678901234567890}})
    reader(
        site,
        {
            "a.txt": "größe\n".encode("latin-1"),
            "b.csv": table.encode(),
            "c.json": value.encode(),
            "d.png": DOT,
            "e.html": b"<!doctype html><style>p{color:red}</style><p>A report",
            "g.bin": bytes(range(256)),
            "h.txt": b"",
            "i.svg": b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
            "j.tsv": b"x;y\t1\n",
            "picture.txt": DOT,
            "sub/deeper/end.txt": b"the end\n",
        },
    )
    page = site.go("me_files", "s")
    latin = opened(page, "a.txt")
    expect(latin.locator(".sample")).to_have_text("größe")
    expect(latin).to_contain_text("Read as latin-1.")
    rows = opened(page, "b.csv")
    expect(rows.locator("th")).to_have_text(["a", "b"])
    expect(rows.locator("tbody tr")).to_have_count(199)
    expect(rows.locator("td").nth(1)).to_have_text('x, "0"')
    expect(rows).to_contain_text("the first 200 rows")
    folded = opened(page, "c.json")
    expect(folded.locator("summary")).to_contain_text(["{…} 2 values", "list", "deep"])
    folded.locator("summary").filter(has_text="deep").click()
    expect(folded).to_contain_text("n: 12345678901234567890")
    folded.locator("summary").filter(has_text="list").click()
    expect(folded).to_contain_text("And 50 more values.")
    for name in ("d.png", "i.svg", "picture.txt"):
        image = opened(page, name).get_by_role("img", name=f"Image {name}")
        expect(image).to_be_visible()
        page.wait_for_function("image => image.naturalWidth > 0", arg=image.element_handle())
    frame = opened(page, "e.html").frame_locator("iframe")
    expect(frame.locator("p")).to_have_css("color", "rgb(255, 0, 0)")
    expect(opened(page, "g.bin")).to_contain_text("256 bytes that aren't text")
    expect(opened(page, "h.txt")).to_have_text("It is empty.")
    expect(opened(page, "j.tsv").locator("th")).to_have_text(["x;y", "1"])
    inner = opened(page, "sub")
    inner.get_by_role("button", name="deeper").click()
    inner.get_by_role("button", name="end.txt").click()
    expect(inner.locator(".sample")).to_have_text("the end")
    inner.get_by_role("button", name="end.txt").click()
    expect(inner.locator(".sample")).to_have_count(0)
    assert site.fits()


def test_a_pdf_is_shown_by_the_browsers_viewer_though_its_answer_is_in_a_sandbox(
    site: Site,
) -> None:
    reader(site, {"f.pdf": pdf()})
    site.expected += ["chrome-extension://", "chrome://"]  # where the browser's own viewer lies
    page = site.go("me_files", "s")
    sent: list[str] = []
    page.on("response", lambda answer: sent.append(answer.url) if "frame=1" in answer.url else None)
    with page.expect_request(lambda asked: asked.url.endswith("/pdf_viewer.js")):
        frame = opened(page, "f.pdf").locator("iframe")
    shown = frame.element_handle().content_frame()
    assert shown is not None
    assert "chrome-error" not in shown.url
    policy = page.request.get(sent[0]).headers["content-security-policy"]
    assert policy.startswith("sandbox;")


def test_hostile_files_change_nothing_but_text(site: Site) -> None:
    script = "<script>parent.pwned = 1; top.pwned = 1; alert(1); location = '/'</script>"
    link = "javascript:window.pwned=1"
    files = {
        "a.html": f"<!doctype html>{script}<p>in<img src=x onerror='top.pwned=1'>"
        f"<a href='{link}' target=_top>go</a><form action='/run' method=post><button>b</button>"
        "</form><meta http-equiv=refresh content='0;url=/'><iframe src='/'></iframe>",
        "b.svg": "<svg xmlns='http://www.w3.org/2000/svg' onload='top.pwned=1' width='5'"
        " height='5'><script>top.pwned = 1</script></svg>",
        "c.json": json.dumps({"__proto__": {"x": link}, f"<b>{HOSTILE}": [link, "<img src=x>"]}),
        "d.csv": f'{link},"<img src=x onerror=window.pwned=1>",\u202e=cmd()\n',
        "e.txt": f"\x1b]0;title\x07{script}\u202egnp",
        "f.txt": "x" * 10_000_000,
        "g.csv": ",".join(["y" * 1000] * 500),
        "h.json": "[" * 90_000 + "]" * 90_000,
        "i.md": "[x](javascript:alert(1))",
    }
    top = reader(site, {name: text.encode() for name, text in files.items()})
    name = HOSTILE.replace("/", "_")
    (top / name).write_text(script)
    (top / "line\nend").write_text("odd")
    os.symlink("/etc/passwd", top / "link")
    # The browser says so, when a sandbox keeps something from running or loading.
    site.expected += ["sandbox", "Content Security Policy", "Refused to", "Blocked "]
    page = site.go("me_files", "s")
    url = page.url
    frame = opened(page, "a.html").frame_locator("iframe").first
    expect(frame.locator("p")).to_contain_text("in")
    expect(opened(page, "b.svg").get_by_role("img")).to_be_visible()
    values = opened(page, "c.json")
    values.locator("summary").filter(has_text="<b>").click()
    expect(values.locator("code.string").first).to_have_text(link)
    expect(opened(page, "d.csv").locator("th")).to_have_text(
        [link, "<img src=x onerror=window.pwned=1>", "\ufffd=cmd()"]
    )
    expect(opened(page, "e.txt").locator(".sample")).to_contain_text(script)
    expect(opened(page, "f.txt").locator(".sample")).to_contain_text("more characters")
    assert len(opened(page, "g.csv").locator("tr").inner_text()) < 60 * 400
    expect(opened(page, "h.json").locator(".sample")).to_be_visible()
    expect(opened(page, "i.md").locator(".sample")).to_have_text("[x](javascript:alert(1))")
    expect(opened(page, name).locator(".sample")).to_have_text(script)
    expect(opened(page, "line\\nend").locator(".sample")).to_have_text("odd")
    expect(page.locator(".tree")).to_contain_text("link, not shown")
    assert page.evaluate("window.pwned") is None
    assert page.evaluate("({}).x") is None
    assert page.locator(".panel a[href^=javascript]").count() == 0
    assert page.url == url
    assert site.fits()


def test_a_file_opened_by_its_own_address_runs_nothing(site: Site) -> None:
    reader(
        site,
        {"a.svg": b"<svg xmlns='http://www.w3.org/2000/svg'><script>fetch('/run')</script></svg>"},
    )
    query = "key=k%3Ain%2F&path=a.svg"
    site.expected += ["sandbox", "Content Security Policy", "Blocked "]
    asked: list[str] = []
    site.page.on("request", lambda request: asked.append(request.url))
    for more in ("", "&frame=1"):
        site.page.goto(f"{site.server.url}files/me_files?{query}{more}")
        expect(site.page.locator("svg")).to_have_count(1)
    assert not [url for url in asked if url.endswith("/run")]


def test_a_directory_is_downloaded_as_a_tar(site: Site, tmp_path: Path) -> None:
    reader(site, {"a.txt": b"hello\n", "sub/b": b"b\n"})
    page = site.go("me_files", "s")
    row = key(page, "k:in/")
    expect(row).to_contain_text("2 files, 8 bytes")
    with page.expect_download() as download:
        row.get_by_role("link", name="Download as tar").first.click()
    assert download.value.suggested_filename == "in.tar"
    with tarfile.open(download.value.path()) as tar:
        tar.extractall(tmp_path / "got", filter="data")
    assert (tmp_path / "got/in/sub/b").read_text() == "b\n"


def test_an_open_preview_shows_what_a_step_makes_anew(site: Site, gate: Fifo) -> None:
    chain(site.gaia, "me_anew")
    site.gaia.wait("me_anew")
    page = site.go("me_anew", "two")
    key(page, "k:two").get_by_role("button", name="Preview of k:two").click()
    sample = key(page, "k:two").locator(".sample")
    expect(sample).to_have_text("go-on")
    changed = command("go-on", f"{held(gate)}; echo anew > /out/x", "a")
    site.gaia.command("me_anew", [changed])
    site.gaia.expire("me_anew", ["two"])
    expect(page.locator(".panel > header .badge")).to_have_text("running")
    gate.open("go\n")
    expect(sample).to_have_text("anew")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_panel_works_by_keyboard_and_on_a_small_screen(site: Site, scheme: str) -> None:
    reader(site, {"a.csv": b"a,b,c\n" + b"12345678901234567890," * 30 + b"\n", "long" * 30: b"x"})
    page = site.page
    page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.set_viewport_size({"width": 390, "height": 800})
    site.go("me_files", "s")
    row = key(page, "k:in/")
    row.get_by_role("button", name="Preview of k:in/").focus()
    page.keyboard.press("Enter")
    expect(row.locator(".tree > li")).to_have_count(2)
    page.keyboard.press("Tab")
    expect(row.get_by_role("link", name="Download as tar")).to_be_focused()
    row.get_by_role("button", name="a.csv").press(" ")
    expect(row.locator("table")).to_be_visible()
    assert site.fits()
    wider = "() => [...document.querySelectorAll('.panel .body > *')]"
    assert page.evaluate(f"({wider})().every((part) => part.scrollWidth <= part.clientWidth + 1)")
