"""The site in a real browser, from disk and without a network: it sorts, filters and links, and runs nothing of a stranger's.

Needs Playwright (`pip install playwright`) and Debian's `chromium`; skipped without.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.builders.sites import HARM, write_harmful_entry, write_records, write_verified
from tests.builders.stores import SIZE, longer
from tests.tools.thousand import long_board, timed
from vddbench.data.build import build_store
from vddbench.data.datasets import movingshapes
from vddbench.data.store import Store
from vddbench.distillation.run import distill
from vddbench.leaderboard.site.build import build
from vddbench.spec import Task
from vddbench.submissions.submission import read

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.long
CHROMIUM = shutil.which("chromium")
AXE = "axe-core@4.10.3"
PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
ROWS = "section.on article:not([hidden]) table.ranks tbody.ranked tr:not([hidden]) th a:first-child"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def index(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site of a dataset whose first class has a harmful name: two methods with their payloads, and a harmful entry."""
    root = tmp_path_factory.mktemp("browsed")
    store = harmful_store()
    for method, shares in (("random", [0.2, 0.2, 0.3]), ("mean", [0.4, 0.4, 0.4])):
        path = distill(method, Task(dataset=store.name, ipc=1), 0, root / "submissions")
        write_records(root / "results", store, method, shares, submission_sha256=read(path).manifest.sha256)
    write_records(root / "results", store, "good", [0.9, 0.9, 0.95], payload_bytes=90_000)
    write_records(root / "results", store, "small", [0.6, 0.7, 0.65], payload_bytes=1000)
    write_records(root / "results", store, "outside", [0.5, 0.5, 0.55], payload_bytes=50_000, external=True)
    write_records(root / "results", store, "soft_one", [0.5, 0.5, 0.55], track="soft", payload_bytes=50_000)
    write_records(
        root / "results", store, "good", [0.7] * 3, payload_bytes=90_000, student="convnet_gru", protocol_hash="3" * 64
    )
    write_records(root / "results", store, "random", [0.2] * 3, task=f"{store.name}-ipc5", budget_bytes=10**7)
    many = {"task": f"{store.name}-ipc5", "budget_bytes": 10**7, "clips_per_class": 9.0}
    write_records(root / "results", store, "many", [0.8] * 3, **many)
    write_harmful_entry(root, store)
    write_verified(root / "results", "small", "maintainer")
    return build([root / "results"], [root / "submissions"], root / "site")


def harmful_store() -> Store:
    kept = {"train": 3, "validation": 1, "test": 4}
    videos = [v for v in movingshapes.videos(Path()) if int(v.id[-3:]) < kept[v.id.split("/")[0]]]
    names = (f"{HARM}", *movingshapes.SPEC.class_names[1:])
    steps = {"1": 2, "5": 2, "10": 2, "full": 2}
    changes = {"num_videos": None, "student_steps": steps, "class_names": names, "size": SIZE}
    spec = movingshapes.SPEC.model_copy(update=changes)
    return build_store("harmful", spec, videos, render=longer).store


class Opened:
    """An open page, its messages, and the addresses that it requested."""

    def __init__(self, browser: Browser, path: Path, anchor: str = "", **options: Any) -> None:
        context = browser.new_context(**{"offline": True, **options})
        context.set_default_timeout(120_000)  # milliseconds; machines that run the tests may be busy
        self.page: Page = context.new_page()
        self.messages: list[str] = []
        self.requested: list[str] = []
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", lambda dialog: self.messages.append(f"dialog {dialog.message}"))
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.page.goto(path.as_uri() + anchor)

    def methods(self) -> list[str]:
        return self.page.locator(ROWS).all_inner_texts()

    def anchor(self) -> str:
        return str(self.page.evaluate("location.hash"))

    def close(self) -> None:
        assert not self.messages
        assert all(url.startswith(("file:", "data:")) for url in self.requested)
        assert "owned" not in self.page.title()
        self.page.context.close()


def test_a_click_on_a_head_sorts_and_a_second_one_turns_it_around(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, "#harmful-ipc1&student=convnet3d&track=hard")
    head = opened.page.locator("section.on table.ranks").first.locator("th[data-key=mb]")
    assert opened.methods()[0] == "good" and opened.methods()[-1] == "random"
    head.locator("button").click()
    assert opened.methods()[:2] == ["small", "outside"] and head.get_attribute("aria-sort") == "ascending"
    assert "sort=mb" in opened.anchor()
    head.locator("button").click()
    assert opened.methods()[-1] == "small" and head.get_attribute("aria-sort") == "descending"
    opened.close()


def test_the_keyboard_is_enough(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, "#harmful-ipc1&student=convnet3d&track=hard")
    opened.page.locator("th[data-key=gain] button").first.focus()
    opened.page.keyboard.press("Enter")
    opened.page.keyboard.press("Enter")
    assert opened.methods()[0] == "random" and "sort=gain" in opened.anchor()
    opened.page.locator("input[name=q]").focus()
    opened.page.keyboard.type("small")
    assert opened.methods() == ["small"]
    opened.page.keyboard.press("Enter")  # searching sends nothing anywhere
    assert opened.page.url.startswith("file:") and opened.methods() == ["small"]
    opened.close()


def test_every_view_has_an_address_that_shows_it_again(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index)
    opened.page.select_option("select[name=dataset]", "harmful")
    opened.page.select_option("select[name=student]", "convnet3d")
    opened.page.select_option("select[name=track]", "hard")
    opened.page.select_option("select[name=only]", "own")
    opened.page.select_option("select[name=sort]", "-mb")
    opened.page.fill("input[name=q]", "o")
    seen, address = opened.methods(), opened.anchor()
    assert seen == ["mean", "random", "good", "small"]  # `outside` says that it used other data
    assert opened.page.locator("#permalink").get_attribute("href") == address
    opened.page.reload()
    assert opened.methods() == seen
    assert opened.page.input_value("input[name=q]") == "o" and opened.page.input_value("select[name=only]") == "own"
    assert opened.page.locator("#count").inner_text() == "4 of 8 entries"
    opened.page.locator("button[type=reset]").click()
    assert opened.anchor() == "#harmful-ipc1"
    for only, expected in (("verified", {"small"}), ("ranked", {"good", "small", "outside", "random", "mean", "soft_one"})):
        opened.page.select_option("select[name=only]", only)
        assert set(opened.methods()) == expected
        assert opened.page.locator("section.on tbody.unranked tr:visible").count() == 0
    opened.page.fill("input[name=q]", "maintainer 2026")
    assert opened.methods() == ["small"]
    opened.close()


def test_the_switch_between_the_divisions_has_an_address_and_survives_a_reload(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, "#harmful-ipc5")
    assert opened.methods() == ["random"] and opened.page.locator("#count").inner_text() == "1 of 1 entry"
    opened.page.check("input[name=division][value=open]")
    assert opened.methods() == ["many", "random"] and opened.anchor() == "#harmful-ipc5&division=open"
    opened.page.reload()
    assert opened.methods() == ["many", "random"] and opened.page.is_checked("input[name=division][value=open]")
    assert opened.page.locator("#permalink").get_attribute("href") == "#harmful-ipc5&division=open"
    opened.page.check("input[name=division][value=ipc]")
    assert opened.methods() == ["random"] and opened.anchor() == "#harmful-ipc5"
    opened.close()


def test_an_address_shows_its_task_or_says_that_there_is_none(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index)
    shown = opened.page.locator("section.on > h2")
    assert shown.first.inner_text().startswith("miniucf-ipc1") and shown.count() == 1
    assert "No record yet." in opened.page.locator("section.on .answer").inner_text()
    go = "anchor => { location.hash = anchor; return new Promise(done => setTimeout(done, 50)); }"
    for anchor in ("#nosuch-ipc1", "#miniucf-ipc2", "#%E0%A4%A", f"#{HARM}", "#constructor&sort=__proto__"):
        opened.page.evaluate(go, anchor)
        assert shown.count() == 0 and "This board has nothing under" in opened.page.locator("#unknown").inner_text()
        assert opened.page.input_value("select[name=dataset]") == ""
    for anchor in ("#harmful-ipc1&sort=nosuch&student=<b>&only=x", "#harmful"):
        opened.page.evaluate(go, anchor)
        assert shown.all_inner_texts()[0].startswith("harmful-ipc1") and "good" in opened.methods()
        assert not opened.page.locator("#unknown").is_visible()
    opened.page.select_option("select[name=budget]", "harmful-ipc5")
    assert opened.anchor() == "#harmful-ipc5" and shown.count() == 1
    opened.page.select_option("select[name=dataset]", "miniucf")
    assert opened.anchor() == "#miniucf-ipc5"  # the same budget
    opened.page.select_option("select[name=dataset]", "all")
    assert shown.count() > 5
    opened.close()


def test_columns_without_values_are_hidden_until_asked_for(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, "#harmful-ipc1&student=convnet3d&track=hard")
    heads = opened.page.locator("section.on article:not([hidden]) table.ranks thead th:visible")
    assert "Gap closed %" not in heads.all_inner_texts() and "Date" not in heads.all_inner_texts()
    opened.page.locator(".columns summary").click()
    opened.page.get_by_role("checkbox", name="Date").check()
    opened.page.get_by_role("checkbox", name="MB, of budget").uncheck()
    assert "Date" in heads.all_inner_texts() and "MB, of budget" not in heads.all_inner_texts()
    opened.close()


def test_a_frame_tells_its_address_to_the_hub_and_to_nobody_else(browser: Browser, index: Path) -> None:
    frame = "<iframe src='https://lab.static.hf.space/index.html#harmful-ipc1'></iframe>"
    space = f"<script>got = []; addEventListener('message', event => got.push(event.data.hash))</script>{frame}"
    for parent, told in (("https://huggingface.co", True), ("https://evil.example", False)):
        page = browser.new_context().new_page()
        page.set_default_timeout(120_000)
        page.route("**/*", lambda route: route.abort())
        page.route(f"{parent}/*", lambda route: route.fulfill(body=space, content_type="text/html"))
        page.route("https://lab.static.hf.space/*", lambda route: route.fulfill(path=index, content_type="text/html"))
        page.goto(f"{parent}/spaces")
        inner = page.frames[1]
        inner.check("input[name=division][value=open]")
        page.wait_for_timeout(100)
        assert page.evaluate("got") == (["#harmful-ipc1", "#harmful-ipc1&division=open"] if told else [])
        page.context.close()


def test_without_javascript_every_table_is_there(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, java_script_enabled=False)
    assert (
        opened.page.locator("table.ranks:visible").count() == 2 * 4
    )  # in each division two students, soft labels, another task
    assert not opened.page.locator("#filters").is_visible() and opened.page.locator("figure svg").first.is_visible()
    assert opened.page.locator("nav.tasks a", has_text="harmful-ipc1").is_visible()
    assert opened.page.locator("section.task", has_text="No record yet.").first.is_visible()
    opened.close()


def test_previews_play_and_can_be_paused(browser: Browser, index: Path) -> None:
    path = next(index.parent.glob("s/harmful-ipc1/random@*/index.html"))
    opened = Opened(browser, path)
    images = opened.page.locator(".previews img")
    images.last.scroll_into_view_if_needed()
    loaded = f"[...document.querySelectorAll('.previews img')].every(image => image.naturalWidth === {SIZE})"
    opened.page.wait_for_function(loaded)
    assert num_pictures(opened.page) > 1 and images.first.get_attribute("loading") == "lazy"
    opened.page.locator("button.pause").click()
    opened.page.wait_for_timeout(200)
    assert num_pictures(opened.page) == 1
    assert HARM in (images.first.get_attribute("alt") or "")  # the class's name, as text
    opened.close()


def num_pictures(page: Page) -> int:
    """How many different pictures the first clip shows within about a second."""
    shots = set()
    for _ in range(10):
        shots.add(page.locator("picture img").first.screenshot())
        page.wait_for_timeout(100)
    return len(shots)


def test_two_methods_side_by_side_have_an_address_and_stand_still_for_reduced_motion(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, "#harmful-ipc1", reduced_motion="reduce")
    pairs = opened.page.locator("article:not([hidden]) .pairs")
    assert pairs.locator("li").count() == 8 and HARM in pairs.locator("b").first.inner_text()
    assert "mean" in pairs.locator("li").first.inner_text() and "random" in pairs.locator("li").first.inner_text()
    opened.page.locator("article:not([hidden]) .compare select").first.select_option(label="random")
    assert re.fullmatch(r"#harmful-ipc1&compare=random%40\w{8}%2Crandom%40\w{8}", opened.anchor())
    assert opened.page.locator(".pause").first.inner_text() == "Play clips"
    current = "[...document.querySelectorAll('.pairs img')].every(image => /still/.test(image.currentSrc) || !image.currentSrc)"
    assert opened.page.evaluate(current)
    opened.close()


def test_nothing_that_a_stranger_wrote_runs(browser: Browser, index: Path) -> None:
    for path in (index, *index.parent.glob("s/harmful-ipc1/[hr]a*/index.html")):
        opened = Opened(browser, path)
        opened.page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
        opened.page.wait_for_timeout(100)
        assert opened.page.evaluate("[...document.querySelectorAll('img')].every(image => image.closest('picture'))")
        assert opened.page.evaluate("[...document.links].every(link => /^(https|file):/.test(link.href))")
        opened.close()
    assert HARM in index.read_text().replace("&lt;", "<").replace("&gt;", ">").replace("&#34;", '"').replace("&#39;", "'")


def test_a_script_that_got_in_would_not_run(browser: Browser, index: Path, tmp_path: Path) -> None:
    """The policy, not only the escaping."""
    page = tmp_path / "index.html"
    harm = "<script>document.title='owned'</script><p onclick='document.title=\"owned\"'>x</p><img src='https://x.invalid/y'>"
    page.write_text(index.read_text().replace("<h1>", harm + "<h1>", 1))
    opened = Opened(browser, page)
    opened.page.locator("main p").first.click()
    assert "owned" not in opened.page.title()
    assert len(opened.messages) >= 3 and all("Content Security Policy" in line or "blocked" in line for line in opened.messages)
    opened.page.context.close()


def test_a_phone_shows_it_without_scrolling_sideways(browser: Browser, index: Path) -> None:
    for path in (
        index,
        next(index.parent.glob("s/*/random@*/index.html")),
        index.with_name("protocol.html"),
        index.with_name("submit.html"),
    ):
        opened = Opened(browser, path, **PHONE)
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= 390
        opened.close()
    opened = Opened(browser, index, "#harmful-ipc1&student=convnet3d&track=hard", **PHONE)
    first = opened.page.locator("section.on article:not([hidden]) tbody.ranked tr").first.bounding_box()
    assert first is not None and first["y"] + first["height"] < 844  # above the fold
    opened.page.locator(".narrow > summary").click()
    opened.page.select_option("select[name=sort]", "mb")  # there are no heads to tap
    assert opened.methods()[0] == "small"
    opened.close()


def test_dark_follows_the_system_and_can_be_chosen(browser: Browser, index: Path) -> None:
    def paper(opened: Opened) -> int:
        colour = opened.page.evaluate("getComputedStyle(document.body).backgroundColor")
        return sum(map(int, re.findall(r"\d+", colour)[:3]))

    opened = Opened(browser, index, color_scheme="dark")
    assert paper(opened) < 150
    opened.page.locator("#theme").click()
    assert paper(opened) > 600
    opened.page.reload()
    assert paper(opened) > 600  # remembered
    opened.close()


def test_points_of_a_chart_lead_to_their_pages_and_say_what_they_are(browser: Browser, index: Path) -> None:
    opened = Opened(browser, index, "#harmful-ipc1")
    point = opened.page.locator("figure svg a[href*='/small@']").first
    point.locator("path").hover()
    assert "small: " in opened.page.locator(".tip").inner_text() and "1,000 bytes" in opened.page.locator(".tip").inner_text()
    point.locator("path").click()
    assert opened.page.locator("h1").inner_text() == "small"
    opened.close()


@pytest.mark.slow
def test_a_thousand_entries_are_light_and_quick(browser: Browser, tmp_path: Path) -> None:
    """`python -m tests.tools.thousand` prints the figures; the limit here only catches what is far too slow."""
    path = long_board(tmp_path, 1000)
    assert path.stat().st_size < 5_000_000 and path.read_text().count('<th scope="row"><a href="s/') >= 1000
    load, sort = timed(browser, path)
    assert load < 60 and sort < 60
    opened = Opened(browser, path)
    assert len(opened.methods()) == 100 and opened.page.locator("#count").inner_text() == "1000 of 1000 entries"
    opened.page.locator("button.more").first.click()
    assert len(opened.methods()) == 1000
    opened.page.fill("input[name=q]", "method_99")
    assert len(opened.methods()) == 11
    opened.close()


@pytest.mark.slow
def test_axe_finds_nothing_to_complain_about(browser: Browser, index: Path, tmp_path: Path) -> None:
    """Rules of WCAG 2.2 AA, contrast among them. Needs npm and a registry."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    done = subprocess.run(["npm", "pack", "--silent", AXE], cwd=tmp_path, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"npm cannot download {AXE}")
    subprocess.run(["tar", "xzf", done.stdout.split()[-1]], cwd=tmp_path, check=True)
    random = next(index.parent.glob("s/*/random@*/index.html"))
    for options in ({}, {"color_scheme": "dark"}, PHONE):
        for path in (index, random, index.with_name("protocol.html"), index.with_name("submit.html")):
            opened = Opened(browser, path, "#harmful-ipc1" if path == index else "", bypass_csp=True, **options)
            opened.page.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
            opened.page.add_script_tag(path=tmp_path / "package/axe.min.js")
            violations = opened.page.evaluate("axe.run().then(result => result.violations)")
            assert not [(rule["id"], [node["html"][:200] for node in rule["nodes"][:3]]) for rule in violations]
            opened.page.context.close()
