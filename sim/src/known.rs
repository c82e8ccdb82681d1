//! What observations are called, and which fields they have: read from the type, so that it cannot fall behind.
//!
//! An expectation that names what is never seen is worse than none where it says "never": it holds whatever happens.

use serde::de::{self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, VariantAccess, Visitor};
use serde::{Deserialize, forward_to_deserialize_any};
use tidegate_core::observe::Observation;

/// The names and fields of all observations.
pub struct Known {
    /// Names of variants.
    pub names: &'static [&'static str],
    /// Names of fields, of whichever variant, sorted.
    pub fields: Vec<&'static str>,
}

/// See [`Known`].
pub fn observations() -> Known {
    let mut seen = Seen::default();
    let mut pick = 0;
    // Each round looks at one variant; the error is the end of the look.
    while pick == 0 || pick < seen.names.len() {
        let _ = Observation::deserialize(Look { seen: &mut seen, pick });
        pick += 1;
    }
    seen.fields.push("value");
    seen.fields.sort_unstable();
    seen.fields.dedup();
    Known { names: seen.names, fields: seen.fields }
}

/// The names of a type's variants, as they are written in JSON.
pub fn variants<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let mut seen = Seen::default();
    let _ = T::deserialize(Look { seen: &mut seen, pick: 0 });
    seen.names
}

/// Refuses a name that is not among these, and says which was likely meant.
pub fn check(what: &str, name: &str, known: &[&str]) -> Result<(), String> {
    if known.contains(&name) {
        return Ok(());
    }
    let nearest = known.iter().max_by(|a, b| strsim::jaro(a, name).total_cmp(&strsim::jaro(b, name)));
    let hint = match nearest {
        Some(nearest) if strsim::jaro(nearest, name) > 0.8 => format!("did you mean {nearest:?}?"),
        _ => format!("there are: {}", known.join(", ")),
    };
    Err(format!("there is no {what} {name:?}; {hint}"))
}

#[derive(Default)]
struct Seen {
    names: &'static [&'static str],
    fields: Vec<&'static str>,
}

/// Answers a type's questions about its own shape with an error, and keeps what it asked for.
struct Look<'a> {
    seen: &'a mut Seen,
    pick: usize,
}

type End = de::value::Error;

fn end<T>() -> Result<T, End> {
    Err(de::Error::custom("seen"))
}

impl<'de> Deserializer<'de> for Look<'_> {
    type Error = End;

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, End> {
        if !self.seen.names.is_empty() && self.seen.names != variants {
            return end();
        }
        self.seen.names = variants;
        visitor.visit_enum(self)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, End> {
        self.seen.fields.extend(fields);
        end()
    }

    fn deserialize_any<V: Visitor<'de>>(self, _visitor: V) -> Result<V::Value, End> {
        end()
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct
        newtype_struct seq tuple tuple_struct map identifier ignored_any
    }
}

impl<'de> EnumAccess<'de> for Look<'_> {
    type Error = End;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), End> {
        let name: de::value::StrDeserializer<'_, End> = self.seen.names[self.pick].into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> VariantAccess<'de> for Look<'_> {
    type Error = End;

    fn unit_variant(self) -> Result<(), End> {
        Ok(())
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, End> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _len: usize, _visitor: V) -> Result<V::Value, End> {
        end()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        _visitor: V,
    ) -> Result<V::Value, End> {
        self.seen.fields.extend(fields);
        end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn observations_know_their_names_and_fields() {
        let known = observations();
        for name in ["Active", "JobFinal", "DcFinal", "RunStarted", "ResultUnread", "Malformed"] {
            assert!(known.names.contains(&name), "{name} is missing among {:?}", known.names);
        }
        for field in ["job", "dc", "status", "attempt", "shard", "value", "requests"] {
            assert!(known.fields.contains(&field), "{field} is missing among {:?}", known.fields);
        }
    }
}
