//! Configurations as operators write them, and what they are told.

use super::*;
use expect_test::{Expect, expect};

const ROSTER: &str = r#"
[tls]
authority = "authority.pem"
certificate = "node.pem"
key = "node.key"
[gossip]
key_file = "gossip.key"
[[gates]]
name = "g1"
address = "10.0.0.1:7600"
[[datacenters]]
name = "fra"
managers = [{ name = "m1", address = "10.1.0.1:7600" }]
[[datacenters]]
name = "ams"
managers = [{ name = "m1", address = "10.2.0.1:7600" }]
"#;

fn text(head: &str, tail: &str) -> String {
    format!("cluster = \"c\"\ndata_dir = \"data\"\n{head}{ROSTER}{tail}")
}

fn gate(tail: &str) -> Result<NodeFile, ConfigError> {
    parse(
        Path::new("/etc/tidegate/g1.toml"),
        &text("name = \"g1\"\nlisten = \"0.0.0.0:7600\"\n", tail),
        Role::Gate,
    )
}

fn worker(tail: &str) -> Result<NodeFile, ConfigError> {
    let head = "name = \"w1\"\ndc = \"fra\"\nlisten = \"10.1.0.9:7600\"\n";
    parse(Path::new("/etc/tidegate/w1.toml"), &text(head, tail), Role::Worker)
}

fn refused(result: Result<NodeFile, ConfigError>, expected: Expect) {
    expected.assert_eq(&result.expect_err("it is wrong").to_string());
}

#[test]
fn a_gate_knows_the_gates_and_every_datacenter() {
    let file = gate("[api]\nlisten = \"127.0.0.1:8080\"\n").unwrap();
    assert_eq!(file.roster.datacenters.len(), 2);
    assert_eq!(file.advertise, "10.0.0.1:7600");
    assert_eq!(file.data_dir, Path::new("/etc/tidegate/data"));
    assert!(file.api.unwrap().tokens.is_empty());
}

#[test]
fn a_worker_knows_the_managers_of_its_datacenter_and_runs_no_commands() {
    use tidegate_core::jobs::ExecutorKind::{Http, Sleep};
    let file = worker("[timing]\nlease_ttl = \"30s\"\n").unwrap();
    assert!(file.roster.gates.is_empty());
    assert_eq!(file.roster.datacenters.len(), 1);
    assert_eq!(file.roster.datacenters[0].managers[0].address, "10.1.0.1:7600");
    assert_eq!(file.offer.executors, [Sleep, Http]);
    assert!(file.offer.cores > 0);
    assert_eq!(file.timing.lease_ttl.as_secs(), 30);
}

#[test]
fn a_worker_says_what_it_offers() {
    let file = worker(
        "[worker]\ncores = 3\nexecutors = [\"command\"]\n[worker.http]\nallow_targets = [\"a\"]\n\
         [worker.secrets]\nTOKEN = { file = \"token\" }\nOTHER = { env = \"X\" }\n",
    )
    .unwrap();
    assert_eq!((file.offer.cores, file.offer.executors.len()), (3, 1));
    assert_eq!(file.secrets["TOKEN"], SecretSource::File("/etc/tidegate/token".into()));
    assert_eq!(file.secrets["OTHER"], SecretSource::Env("X".into()));
}

#[test]
fn what_is_unknown_or_of_the_wrong_type_is_shown_where_it_stands() {
    refused(
        gate("[api]\nlsten = \"127.0.0.1:8080\"\n"),
        expect![[r#"
            /etc/tidegate/g1.toml:22:1: unknown field `lsten`, expected one of `listen`, `certificate`, `key`, `tokens`
               |
            22 | lsten = "127.0.0.1:8080"
               | ^^^^^"#]],
    );
    refused(
        worker("[worker]\nexecutors = [\"shell\"]\n"),
        expect![[r#"
            /etc/tidegate/w1.toml:23:14: unknown variant `shell`, expected one of `http`, `command`, `sleep`
               |
            23 | executors = ["shell"]
               |              ^^^^^^^"#]],
    );
    refused(
        worker("[timing]\nlease_ttl = 30\n"),
        expect![[r#"
            /etc/tidegate/w1.toml:23:13: invalid type: integer `30`, expected a string
               |
            23 | lease_ttl = 30
               |             ^^"#]],
    );
    refused(
        worker("[timing]\nlease_ttl = \"ten\"\n"),
        expect![[r#"
            /etc/tidegate/w1.toml:23:13: "ten" is no span of time; write a whole number and ms, s, m or h, as in "250ms"
               |
            23 | lease_ttl = "ten"
               |             ^^^^^"#]],
    );
}

#[test]
fn an_api_that_others_reach_needs_tls_and_tokens() {
    refused(
        gate("[api]\nlisten = \"0.0.0.0:8080\"\n"),
        expect![[r#"
            /etc/tidegate/g1.toml:21:1: 0.0.0.0:8080 can be reached from other machines: it needs certificate, key and at least one token
               |
            21 | [api]
               | ^^^^^"#]],
    );
    let tls = "[api]\nlisten = \"0.0.0.0:8080\"\ncertificate = \"a.pem\"\nkey = \"a.key\"\n";
    assert!(gate(tls).is_err());
    let token = "[[api.tokens]]\ntenant = \"t\"\nrole = \"operator\"\nfile = \"token\"\n";
    let api = gate(&format!("{tls}{token}")).unwrap().api.unwrap();
    assert!(api.tls.is_some() && api.tokens[0].operator);
    assert!(gate(&format!("{tls}{token}env = \"X\"\n")).is_err(), "file or environment, not both");
}

#[test]
fn roles_do_not_take_what_is_not_theirs() {
    for tail in ["[worker]\ncores = 1\n[api]\nlisten = \"127.0.0.1:1\"\n", ""] {
        assert!(gate(tail).is_err());
    }
    assert!(worker("[api]\nlisten = \"127.0.0.1:8080\"\n").is_err());
    let head = "name = \"g1\"\ndc = \"fra\"\nlisten = \"127.0.0.1:1\"\n";
    assert!(parse(Path::new("x"), &text(head, "[api]\nlisten = \"127.0.0.1:1\"\n"), Role::Gate).is_err());
}

#[test]
fn a_node_must_be_in_its_own_tier_and_a_datacenter_must_be_listed() {
    let head = "name = \"g9\"\nlisten = \"127.0.0.1:1\"\n";
    let strange = parse(Path::new("x"), &text(head, "[api]\nlisten = \"127.0.0.1:1\"\n"), Role::Gate);
    assert!(strange.unwrap_err().to_string().contains("is not among the listed gates"));
    let head = "name = \"w1\"\ndc = \"rome\"\nlisten = \"127.0.0.1:1\"\n";
    let nowhere = parse(Path::new("x"), &text(head, ""), Role::Worker).unwrap_err();
    assert_eq!(nowhere.place(), Some((4, 6)));
}

#[test]
fn two_voters_need_a_word() {
    let second = "[[gates]]\nname = \"g2\"\naddress = \"10.0.0.2:7600\"\n[api]\nlisten = \"127.0.0.1:1\"\n";
    assert!(gate(second).unwrap_err().to_string().contains("allow_two_voters"));
    let third = "[[gates]]\nname = \"g3\"\naddress = \"10.0.0.3:7600\"\n";
    assert!(gate(&format!("{third}{second}")).is_ok());
}

#[test]
fn a_feature_that_is_turned_off_has_a_known_name() {
    use tidegate_core::wire::Features;
    let with = |line: &str| {
        let head = format!("name = \"g1\"\nlisten = \"127.0.0.1:1\"\n{line}");
        parse(Path::new("x"), &text(&head, "[api]\nlisten = \"127.0.0.1:1\"\n"), Role::Gate)
    };
    assert_eq!(with("").unwrap().without, Features::NONE);
    let off = with("without = [\"gate_views\", \"coordinates\"]\n").unwrap().without;
    assert_eq!(off.to_string(), "coordinates gate_views");
    assert!(with("without = [\"queued_jobs\"]\n").is_err(), "the log decides, not a node");
}

#[test]
fn leases_that_could_not_be_renewed_are_refused() {
    assert!(worker("[timing]\nlease_ttl = \"5s\"\nlease_renew = \"3s\"\n").is_err());
    assert!(worker("[timing]\nswim_period = \"0s\"\n").is_err());
}
