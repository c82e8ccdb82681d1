//! The JSON Schema of scenario files: it is the types', it takes every file that is kept, and it sees what is misshapen.

use std::path::{Path, PathBuf};

use expect_test::expect_file;
use serde_json::{Value, json};
use tidegate_sim::scenario;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema() -> Value {
    serde_json::from_str(&scenario::schema()).expect("a schema is JSON")
}

/// Files named `*.toml` in a folder and below.
fn files(folder: &Path, out: &mut Vec<PathBuf>) {
    let mut paths: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder is there")
        .map(|entry| entry.expect("it can be read").path())
        .collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, out);
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            out.push(path);
        }
    }
}

fn document(file: &Path) -> Option<Value> {
    let text = std::fs::read_to_string(file).expect("it can be read");
    let table: toml::Table = text.parse().ok()?;
    Some(serde_json::to_value(table).expect("what TOML holds, JSON can"))
}

/// What a value breaks of a schema, if anything. Knows the keywords that occur, and refuses to pass over others.
fn broken(root: &Value, schema: &Value, value: &Value, at: &str) -> Option<String> {
    let schema = match schema {
        Value::Bool(true) => return None,
        Value::Bool(false) => return Some(format!("{at}: nothing may be here")),
        Value::Object(schema) => schema,
        other => panic!("{other} is no schema"),
    };
    schema
        .iter()
        .find_map(|(keyword, wanted)| {
            let wrong = || Some(format!("{at}: {value} is not {keyword} {wanted}"));
            let number = |wanted: &Value| wanted.as_f64().expect("a number");
            match keyword.as_str() {
                "$schema" | "$defs" | "title" | "description" | "default" | "format" | "required" => None,
                "$ref" => {
                    let name =
                        wanted.as_str().and_then(|name| name.strip_prefix("#/$defs/")).expect("a definition");
                    broken(root, &root["$defs"][name], value, at)
                }
                "type" => {
                    let is = |kind: &Value| match kind.as_str().expect("a type") {
                        "object" => value.is_object(),
                        "array" => value.is_array(),
                        "string" => value.is_string(),
                        "boolean" => value.is_boolean(),
                        "integer" => value.is_i64() || value.is_u64(),
                        "number" => value.is_number(),
                        other => panic!("type {other}"),
                    };
                    let fits = wanted.as_array().map_or_else(|| is(wanted), |kinds| kinds.iter().any(is));
                    if fits { None } else { wrong() }
                }
                "enum" if wanted.as_array().is_some_and(|all| !all.contains(value)) => wrong(),
                "const" if wanted != value => wrong(),
                "minimum" if value.as_f64().is_some_and(|value| value < number(wanted)) => wrong(),
                "maximum" if value.as_f64().is_some_and(|value| value > number(wanted)) => wrong(),
                "minItems" if value.as_array().is_some_and(|all| (all.len() as f64) < number(wanted)) => {
                    wrong()
                }
                "maxItems" if value.as_array().is_some_and(|all| all.len() as f64 > number(wanted)) => {
                    wrong()
                }
                "minLength" if value.as_str().is_some_and(|text| (text.len() as f64) < number(wanted)) => {
                    wrong()
                }
                "enum" | "const" | "minimum" | "maximum" | "minItems" | "maxItems" | "minLength" => None,
                "items" => value
                    .as_array()
                    .into_iter()
                    .flatten()
                    .enumerate()
                    .find_map(|(place, item)| broken(root, wanted, item, &format!("{at}[{place}]"))),
                "properties" => {
                    wanted.as_object().into_iter().flatten().find_map(|(name, inner)| {
                        broken(root, inner, value.get(name)?, &format!("{at}.{name}"))
                    })
                }
                "additionalProperties" => {
                    value.as_object().into_iter().flatten().find_map(|(name, inner)| {
                        let known = schema.get("properties").is_some_and(|known| known.get(name).is_some());
                        if known { None } else { broken(root, wanted, inner, &format!("{at}.{name}")) }
                    })
                }
                "anyOf" | "oneOf" => {
                    let choices = wanted.as_array().expect("choices");
                    let fitting =
                        choices.iter().filter(|choice| broken(root, choice, value, at).is_none()).count();
                    let fits = fitting == 1 || (fitting > 1 && keyword == "anyOf");
                    if fits {
                        None
                    } else {
                        Some(format!("{at}: {fitting} choices of {keyword} fit {value}"))
                    }
                }
                other => panic!("this test does not know the keyword {other}"),
            }
        })
        .or_else(|| {
            let required = schema.get("required").and_then(Value::as_array).into_iter().flatten();
            let missing = |name: &&Value| {
                value.is_object() && name.as_str().is_some_and(|name| value.get(name).is_none())
            };
            required.clone().find(missing).map(|name| format!("{at}: {name} is missing"))
        })
}

fn refused(document: &Value) -> Option<String> {
    let schema = schema();
    broken(&schema, &schema, document, "")
}

#[test]
fn the_schema_in_docs_is_the_one_of_the_types() {
    expect_file![root().join("docs/scenario-file.schema.json")].assert_eq(&scenario::schema());
}

#[test]
fn every_kept_scenario_file_fits() {
    let mut all = Vec::new();
    files(&root().join("scenarios"), &mut all);
    let is_cases = |document: &Value| document.get("case").is_some();
    let documents = all.iter().filter_map(|file| Some((file, document(file).filter(is_cases)?)));
    let mut seen = 0;
    for (file, document) in documents {
        assert_eq!(refused(&document), None, "{}", file.display());
        seen += 1;
    }
    assert!(seen >= 10, "{seen} scenario files");
}

/// Misshapen for the types, but not for a schema: the selector is a text that has a grammar of its own.
const BEYOND: &[&str] = &["unknown-selector.toml"];

#[test]
fn what_is_misshapen_does_not_fit() {
    let mut all = Vec::new();
    files(&root().join("sim/tests/bad"), &mut all);
    let mut seen = 0;
    for file in all {
        let name = file.file_name().expect("a name").to_string_lossy().into_owned();
        let bad = match scenario::load(std::slice::from_ref(&file)) {
            Ok(_) => panic!("{name} is taken for good"),
            Err(bad) => bad,
        };
        // Readable as TOML, and not as a scenario: its shape is wrong.
        let misshapen = bad.why.starts_with("TOML parse error");
        let Some(document) = document(&file).filter(|_| misshapen) else { continue };
        assert_eq!(refused(&document).is_none(), BEYOND.contains(&name.as_str()), "{name}: {}", bad.why);
        seen += 1;
    }
    assert!(seen >= 12, "{seen} misshapen files");
}

#[test]
fn the_checker_itself_refuses() {
    let schema = json!({
        "type": "object",
        "properties": { "n": { "type": "integer", "minimum": 1 }, "one": { "oneOf": [{ "const": 1 }, { "type": "integer" }] } },
        "required": ["n"],
        "additionalProperties": false,
    });
    let fits = |value: Value| broken(&schema, &schema, &value, "").is_none();
    assert!(fits(json!({ "n": 1 })) && fits(json!({ "n": 1, "one": 2 })));
    for bad in [
        json!({}),
        json!({ "n": 0 }),
        json!({ "n": "1" }),
        json!({ "n": 1, "m": 1 }),
        json!({ "n": 1, "one": 1 }),
        json!([]),
    ] {
        assert!(!fits(bad.clone()), "{bad}");
    }
}
