//! The page of a failing run: what is in it, and that a browser shows it.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate_sim::explain::{self, LINES_MAX};
use tidegate_sim::scenario::Repro;

/// Fails because of its first fault: a worker that crashes is not back in time.
const FAILS: &str = r#"
seed = 1

[cluster]
gates = 1

[[cluster.datacenter]]
name = "dc-a"
managers = 1
worker = [{ cores = 2 }]

[[client]]
name = "c1"

[[client.job]]
name = "j1"
when = { at_ms = 8000 }
workflow = [{ name = "nap", duration_ms = 2000 }]

[[fault]]
when = { seen = { name = "RunStarted", after_ms = 500 } }
target = "worker:j1@dc-a"
kind = "crash"
for_ms = 4000

[[fault]]
when = { at_ms = 1000 }
target = "g1"
kind = { slow_us = 10 }
for_ms = 1000

[[expect]]
see = "ShardLost"
times = 0
"#;

fn page() -> (String, explain::Record) {
    let repro = Repro::from_toml(FAILS).expect("it is sound");
    let (verdict, record) = explain::record(&repro).expect("it is sound");
    let violation = verdict.violation.expect("the worker's loss is seen");
    assert_eq!(violation.oracle, "expectation");
    let nearest =
        explain::nearest_passing(&repro, &record).expect("it is sound").expect("without the crash it passes");
    assert_eq!(nearest.without, "crash at worker:j1@dc-a");
    assert!(nearest.differs_at > 0 && nearest.differs_at < record.events.len());
    (explain::page(&repro.plan, &record, Some(&nearest)), record)
}

#[test]
fn the_story_is_short_and_says_what_led_to_it() {
    let (_, record) = page();
    let story = explain::story(&record);
    assert!(story.lines().count() <= LINES_MAX, "{story}");
    for words in ["FAULT crash", "RunStarted", "asks Submit", "ShardLost", "VIOLATION of \"expectation\""] {
        assert!(story.contains(words), "{words} is not in:\n{story}");
    }
}

#[test]
fn every_message_of_the_record_was_sent_before_it_arrived() {
    let (_, record) = page();
    let received = record.events.iter().filter(|event| event.kind == explain::Kind::Receive);
    let mut messages = 0;
    for event in received {
        let cause = &record.events[event.cause.expect("nothing arrives that was not sent")];
        assert_eq!((cause.kind, cause.host), (explain::Kind::Send, event.peer.expect("somebody sent it")));
        assert!(cause.at < event.at && cause.name == event.name);
        messages += 1;
    }
    assert!(messages > 50, "{messages} messages");
}

#[test]
fn the_page_is_one_small_file_that_asks_nobody() {
    let (page, _) = page();
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
    let outside = ["src=\"http", "href=\"", "@import", "fetch(", "XMLHttpRequest", "url("];
    // `url(#...)` points into the page itself.
    let page = page.replace("url(#", "");
    for word in outside {
        assert!(!page.contains(word), "{word}");
    }
}

fn browser() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path)
        .flat_map(|folder| names.map(|name| folder.join(name)))
        .find(|file| file.is_file())
}

/// Stands before the page's own script and after it: what goes wrong, and what a user would do.
const WATCH: &str = r#"<script>
window.wrong = [];
window.onerror = (message) => { window.wrong.push(String(message)); };
console.error = (...words) => { window.wrong.push(words.join(" ")); };
</script>"#;
const USE: &str = r##"<script>
const said = [];
const say = (name, value) => said.push(name + "=" + value);
say("violation", document.querySelector("#violation .violation").textContent.startsWith("✕ expectation"));
const box = document.querySelector("#violation rect").getBoundingClientRect();
say("visible", box.width > 200 && box.top >= 0 && box.bottom <= window.innerHeight);
const slider = document.getElementById("slider");
const look = () => document.getElementById("step").textContent + document.getElementById("states").textContent;
const end = look();
slider.value = 3;
slider.dispatchEvent(new Event("input"));
say("moves", look() !== end && look().startsWith("Step 4 of"));
slider.value = slider.max;
slider.dispatchEvent(new Event("input"));
say("back", look() === end);
say("band", document.querySelectorAll(".band").length > 0);
const cone = Number(slider.max);
document.querySelector("#scope button[data-value=all]").click();
say("everything", Number(slider.max) > cone);
document.querySelector("#kinds button[data-value=receive]").click();
document.querySelector("#kinds button[data-value=receive]").click();
document.querySelectorAll("#runs button")[2].click();
say("panes", document.querySelectorAll(".pane").length);
document.querySelectorAll("#runs button")[0].click();
const send = data.runs[0].events.findIndex((event) => data.kinds[event[2]] === "send" && event[10]);
select(0, send);
const link = document.querySelector("#event a:last-child");
say("link", link.textContent.startsWith("→ received"));
link.click();
say("followed", document.querySelector("#event p:nth-child(2)").textContent.startsWith("receive at"));
say("wrong", window.wrong.join("; "));
document.documentElement.dataset.said = said.join("|");
</script>"##;

#[test]
fn a_browser_shows_the_page() {
    let Some(browser) = browser() else {
        // Written past the test's own capture: a skip must be seen.
        let skipped =
            "SKIPPED a_browser_shows_the_page: there is no Chromium here, so nobody has looked at the page";
        writeln!(std::io::stderr(), "{skipped}").expect("somebody reads");
        return;
    };
    let (page, _) = page();
    let page = page.replacen("<head>", &format!("<head>{WATCH}"), 1).replacen(
        "</body>",
        &format!("{USE}</body>"),
        1,
    );
    let folder = std::env::temp_dir().join(format!("tidegate-page-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a folder for the page");
    let file = folder.join("page.html");
    std::fs::write(&file, page).expect("the page is written");
    let said = look(&browser, &folder, &file);
    std::fs::remove_dir_all(&folder).expect("the folder goes");
    for wanted in [
        "violation=true",
        "visible=true",
        "moves=true",
        "back=true",
        "band=true",
        "everything=true",
        "panes=2",
        "link=true",
        "followed=true",
    ] {
        assert!(said.split('|').any(|word| word == wanted), "{wanted} is not in {said}");
    }
    assert!(said.ends_with("|wrong="), "the page complains: {said}");
}

fn look(browser: &Path, folder: &Path, file: &Path) -> String {
    let done = Command::new(browser)
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--window-size=1400,900", "--dump-dom"])
        .arg(format!("--user-data-dir={}", folder.join("profile").display()))
        .arg(format!("file://{}", file.display()))
        .output()
        .expect("the browser starts");
    let dom = String::from_utf8_lossy(&done.stdout).into_owned();
    let said = dom.split_once("data-said=\"").and_then(|(_, rest)| rest.split_once('"'));
    said.map(|(said, _)| said.to_string()).unwrap_or_else(|| {
        panic!(
            "the page did not come to its end; the browser says: {}",
            String::from_utf8_lossy(&done.stderr)
        )
    })
}
