//! The language by examples: what a case may say, what is seen, and what is told of a file that says nonsense.

use std::path::Path;

use super::file::parse;
use super::{Case, Scenario};
use crate::runner::{self, Extras};

const BASE: &str = r#"
[[base.cluster.datacenter]]
name = "dc-a"
managers = 1
worker = [{ cores = 4 }]

[base.cluster]
gates = 1

[[base.client]]
name = "c1"

[[base.client.job]]
name = "j1"
when = { at_ms = 8000 }
workflow = [{ name = "nap", duration_ms = 1500 }]
"#;

fn case(text: &str) -> Scenario {
    let file = format!("{BASE}\n[[case]]\nid = \"X-1\"\ncovers = [\"X-1\"]\nwhy = \"It shows.\"\n{text}");
    parse(Path::new("test.toml"), &file).expect("a good file").swap_remove(0)
}

fn refusal(text: &str) -> String {
    let file = format!("{BASE}\n[[case]]\nid = \"X-1\"\ncovers = [\"X-1\"]\nwhy = \"It shows.\"\n{text}");
    parse(Path::new("test.toml"), &file).expect_err(text).why
}

fn judge(case: &Scenario) -> Result<(), String> {
    let extras = Extras { spectators: case.spectators(), ..Extras::default() };
    match runner::run(case.plan(1), extras).expect("a good plan").violation {
        Some(violation) => Err(format!("{}: {}", violation.oracle, violation.message)),
        None => Ok(()),
    }
}

#[test]
fn messages_have_their_keys_and_fences() {
    let good = case(
        r#"expect = [
        { see = "Message.Dispatch", by = "g1", with = { job = "j1", gate_epoch = 1, slots = 1 }, times = 1 },
        { see = "Message.DispatchReply", with = { job = "j1", ok = true, dc_epoch = 1, owner = "dc-a/m1" }, times = 1 },
        { see = "Message.ShardResult", with = { job = "j1", shard = 0, outcome = "Completed" } },
        { see = "Message.DcFinalAck", with = { job = "j1", ok = true } },
    ]"#,
    );
    assert_eq!(judge(&good), Ok(()));
    let bad = case(r#"expect = [{ see = "Message.Dispatch", with = { gate_epoch = 2 } }]"#);
    assert!(judge(&bad).is_err_and(|why| why.contains("gate_epoch 2 was seen 0 times")));
}

#[test]
fn looks_show_what_nodes_hold_and_always_judges_each() {
    let text = |always: &str| {
        format!(
            r#"run = {{ look_every_ms = 500, at_least_ms = 14000 }}
            expect = [
                {{ see = "Look", by = "gates", from_ms = 9000, until_ms = 9600, with = {{ live_jobs = 1, leases = 1 }} }},
                {{ see = "Look", by = "gates", always = {{ jobs = {always} }} }},
            ]"#
        )
    };
    assert_eq!(judge(&case(&text("{ at_most = 1 }"))), Ok(()));
    let why = judge(&case(&text("0"))).expect_err("one job is there");
    assert!(why.contains("Look by gates had jobs 1, expected always Look with jobs 0"), "{why}");
}

#[test]
fn asks_are_single_calls() {
    let asks = case(
        r#"expect = [
        { see = "Answer.Status", with = { job = "j1", status = "Running", owner = "g1" }, times = 1 },
        { see = "Answer.Submitted", with = { job = "j1", repeated = true }, times = 2 },
        { see = "Answer.Fault", with = { question = "Result", code = "UnknownJob" }, times = 1 },
        { see = "Answer.Datacenters", with = { "dc-a.usable" = true, "dc-a.leader" = "dc-a/m1" }, times = 1 },
        { see = "Answer.Members", with = { "g1.active" = true }, times = 1 },
    ]

[[case.client]]
name = "c1"

[[case.client.job]]
name = "j1"
when = { at_ms = 8000 }
workflow = [{ name = "nap", duration_ms = 1500 }]
ask = [
    { when = { at_ms = 9000 }, gate = "g1", ask = "status" },
    { when = { at_ms = 9000 }, gate = "g1", ask = "submit", times = 2 },
    { when = { at_ms = 9000 }, gate = "g1", ask = "result", unknown_job = true },
    { when = { at_ms = 9000 }, gate = "g1", ask = "datacenters" },
    { when = { at_ms = 9000 }, gate = "g1", ask = "members" },
]"#,
    );
    assert_eq!(judge(&asks), Ok(()));
}

#[test]
fn puppets_repeat_alter_and_invent() {
    let says = case(
        r#"expect = [
        { see = "Ignored", by = "g1", with = { value = "Sequence" }, times = { at_least = 3 }, reached = true },
        { see = "Message.DcFinalAck", by = "g1", with = { code = "UnknownJob" }, times = 1, reached = true },
        { see = "Fault", with = { kind = "say" }, times = 2 },
        { see = "Result", with = { job = "j1", status = "Completed" } },
    ]
    run = { at_least_ms = 14000 }

[[case.fault]]
when = { at_ms = 9000 }
target = "g1"
kind = { say = { from = "dc-a/m1", kind = "DcHeartbeat", nth = 1, times = 3 } }

[[case.fault]]
when = { at_ms = 12000 }
target = "g1"
kind = { say = { from = "dc-a/m1", kind = "DcFinal", job = "j1", alter = { unknown_job = true } } }

# Nobody has said this, so it cannot be said again.
[[case.fault]]
when = { at_ms = 12000 }
target = "g1"
kind = { say = { from = "dc-a/m1", kind = "DcOwnerChanged" } }

# A heartbeat has no fence.
[[case.fault]]
when = { at_ms = 12000 }
target = "g1"
kind = { say = { from = "dc-a/m1", kind = "DcHeartbeat", alter = { fence = 3 } } }"#,
    );
    assert_eq!(judge(&says), Ok(()));
}

#[test]
fn cases_are_compared_by_what_is_seen() {
    let text = |slower: &str, field: &str| {
        format!(
            r#"{BASE}
[[case]]
id = "X-1"
covers = ["X-1"]
why = "It shows."
expect = [{{ see = "Result" }}]

[[case]]
id = "X-2"
covers = ["X-2"]
why = "It shows."
expect = [{{ see = "Result" }}]
same = [{{ as = "X-1", see = "Result", fields = ["job", "{field}"] }}]
client = [{{ name = "c1", job = [{{ name = "j1", when = {{ at_ms = 9000 }}, workflow = [{{ name = "nap", {slower}, duration_ms = 1500 }}] }}] }}]
"#
        )
    };
    let second = |text: &str| parse(Path::new("test.toml"), text).expect("a good file").swap_remove(1);
    assert_eq!(judge(&second(&text("instances = 1", "ok"))), Ok(()));
    let why = judge(&second(&text("instances = 3", "ok"))).expect_err("three are not one");
    assert!(why.contains("times in X-1"), "{why}");
    let why =
        parse(Path::new("test.toml"), &text("instances = 1", "ok").replace("as = \"X-1\"", "as = \"X-9\""));
    assert!(why.expect_err("no such case").why.contains("no case \"X-9\""));
}

#[test]
fn nonsense_is_told() {
    for (text, word) in [
        (r#"expect = [{ see = "Look" }]"#, "look_every_ms"),
        (r#"expect = [{ see = "Call" }]"#, "names no fact"),
        (r#"expect = [{ see = "Message.Dispatch", with = { slot = {} } }]"#, "range without ends"),
        (r#"expect = []"#, "expects nothing"),
        (r#"expect = [{ see = "Result", times = { at_least = 0 } }]"#, "no expectation"),
        (r#"expect = [{ see = "Result", alwais = {} }]"#, "alwais"),
    ] {
        let why = refusal(text);
        assert!(why.contains(word), "{text}: {why}");
    }
}
