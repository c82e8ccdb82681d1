//! Observations as names and fields: what triggers and expectations are compared with.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::Value;
use tidegate_core::id::{JobId, NodeId};
use tidegate_core::observe::Observation;

use super::facts::Scene;
use crate::plan::Scalar;

/// The name of a variant, without an allocation.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    text: [u8; Self::MAX],
    len: usize,
}

impl Name {
    const MAX: usize = 40;

    /// Whether this is the name.
    pub fn is(&self, name: &str) -> bool {
        self.as_str() == name
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.text[..self.len]).unwrap_or_default()
    }
}

/// Takes what `Debug` writes up to the end of the variant's name, then refuses the rest.
struct Prefix(Name);

impl fmt::Write for Prefix {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            if !byte.is_ascii_alphanumeric() || self.0.len == Name::MAX {
                return Err(fmt::Error);
            }
            self.0.text[self.0.len] = byte;
            self.0.len += 1;
        }
        Ok(())
    }
}

/// The name of a value's variant, as its `Debug` has it.
pub fn name_of<T: fmt::Debug>(value: &T) -> Name {
    let mut prefix = Prefix(Name { text: [0; Name::MAX], len: 0 });
    // The error is the end of the name.
    let _ = write!(prefix, "{value:?}");
    prefix.0
}

/// The fields of an observation by name, nested ones too; the field of a variant without names is `value`. Nodes and
/// jobs have the names of the plan.
pub fn fields(scene: &Scene, observation: &Observation) -> BTreeMap<String, Scalar> {
    let mut out = BTreeMap::new();
    if let Ok(Value::Object(variant)) = serde_json::to_value(observation) {
        for (_, inner) in variant {
            collect(scene, "value", &inner, &mut out);
        }
    }
    out
}

fn collect(scene: &Scene, name: &str, value: &Value, out: &mut BTreeMap<String, Scalar>) {
    let scalar = match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                collect(scene, name, value, out);
            }
            return;
        }
        Value::String(text) => Scalar::Text(named(scene, text)),
        Value::Number(number) => Scalar::Number(number.as_i64().unwrap_or(i64::MAX)),
        Value::Bool(yes) => Scalar::Bool(*yes),
        Value::Null | Value::Array(_) => return,
    };
    out.insert(name.to_string(), scalar);
}

fn named(scene: &Scene, text: &str) -> String {
    match (text.parse::<NodeId>().map(|id| scene.host(id)), text.parse::<JobId>()) {
        (Ok(Some(host)), _) => scene.name(host).to_string(),
        (_, Ok(job)) => scene.job_name(job),
        _ => text.to_string(),
    }
}

/// Whether an observation has all of these fields.
pub fn fields_match(scene: &Scene, observation: &Observation, wanted: &BTreeMap<String, Scalar>) -> bool {
    if wanted.is_empty() {
        return true;
    }
    let have = fields(scene, observation);
    wanted.iter().all(|(name, value)| have.get(name) == Some(value))
}
