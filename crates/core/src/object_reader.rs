//! Reads JSON in which every object is told by the names of its members.
//!
//! What serde derives for a struct also takes a list, whose items it gives to the fields by their position. A sender who
//! writes `["SPY", 5]` where an object belongs would be misread, and nobody would notice. Here that is an error, in every
//! struct at any depth.

use std::fmt;

use serde::Deserialize;
use serde::de::{
    DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor,
};

/// Reads a text; a list in the place of an object is an error.
///
/// # Errors
/// As `serde_json`, and for such a list.
pub fn read_json_text<'de, T: Deserialize<'de>>(text: &'de str) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_str(text);
    let value = T::deserialize(ByName(&mut json))?;
    json.end()?;
    Ok(value)
}

/// As [`read_json_text`], for bytes.
///
/// # Errors
/// As `serde_json`, and for a list in the place of an object.
pub fn read_json_bytes<'de, T: Deserialize<'de>>(bytes: &'de [u8]) -> Result<T, serde_json::Error> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = T::deserialize(ByName(&mut json))?;
    json.end()?;
    Ok(value)
}

/// A reader that takes structs by the names of their members alone; so do all that are read inside of it.
#[derive(Debug)]
pub struct ByName<R>(pub R);

/// Hands on what is read; in the place of a struct, a list is refused.
struct ByNameVisitor<V> {
    inner: V,
    is_struct: bool,
}

fn anything<V>(inner: V) -> ByNameVisitor<V> {
    ByNameVisitor { inner, is_struct: false }
}

macro_rules! pass_deserializer_calls {
    ($($call:ident)*) => {
        $(fn $call<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Self::Error> {
            self.0.$call(anything(visitor))
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for ByName<D> {
    type Error = D::Error;

    pass_deserializer_calls! {
        deserialize_any deserialize_bool deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_i128 deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64 deserialize_char deserialize_str deserialize_string deserialize_bytes
        deserialize_byte_buf deserialize_option deserialize_unit deserialize_seq deserialize_map
        deserialize_identifier deserialize_ignored_any
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_unit_struct(name, anything(visitor))
    }

    // The name is how a reader knows that a value is wanted as it is written.
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_newtype_struct(name, anything(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple(len, anything(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_tuple_struct(name, len, anything(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_struct(name, fields, ByNameVisitor { inner: visitor, is_struct: true })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_enum(name, variants, anything(visitor))
    }

    fn is_human_readable(&self) -> bool {
        self.0.is_human_readable()
    }
}

macro_rules! pass_visits {
    ($($call:ident: $kind:ty)*) => {
        $(fn $call<E: Error>(self, value: $kind) -> Result<V::Value, E> {
            self.inner.$call(value)
        })*
    };
}

impl<'de, V: Visitor<'de>> Visitor<'de> for ByNameVisitor<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_struct { f.write_str("an object") } else { self.inner.expecting(f) }
    }

    pass_visits! {
        visit_bool: bool
        visit_i8: i8 visit_i16: i16 visit_i32: i32 visit_i64: i64 visit_i128: i128
        visit_u8: u8 visit_u16: u16 visit_u32: u32 visit_u64: u64 visit_u128: u128
        visit_f32: f32 visit_f64: f64 visit_char: char
        visit_str: &str visit_borrowed_str: &'de str visit_string: String
        visit_bytes: &[u8] visit_borrowed_bytes: &'de [u8] visit_byte_buf: Vec<u8>
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.inner.visit_some(ByName(value))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, value: D) -> Result<V::Value, D::Error> {
        self.inner.visit_newtype_struct(ByName(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<V::Value, A::Error> {
        if self.is_struct {
            return Err(A::Error::custom("invalid type: list, expected an object"));
        }
        self.inner.visit_seq(ByName(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<V::Value, A::Error> {
        self.inner.visit_map(ByName(members))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        self.inner.visit_enum(ByName(variant))
    }
}

/// Reads what is inside of a list, an object or a variant by name as well.
struct ByNameSeed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for ByNameSeed<S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, value: D) -> Result<S::Value, D::Error> {
        self.0.deserialize(ByName(value))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for ByName<A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_element_seed(ByNameSeed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for ByName<A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        self.0.next_key_seed(ByNameSeed(seed))
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.0.next_value_seed(ByNameSeed(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.0.size_hint()
    }
}

impl<'de, A: EnumAccess<'de>> EnumAccess<'de> for ByName<A> {
    type Error = A::Error;
    type Variant = ByName<A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, ByName<A::Variant>), A::Error> {
        let (value, variant) = self.0.variant_seed(ByNameSeed(seed))?;
        Ok((value, ByName(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for ByName<A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.0.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.0.newtype_variant_seed(ByNameSeed(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.0.tuple_variant(len, anything(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.0.struct_variant(fields, ByNameVisitor { inner: visitor, is_struct: true })
    }
}

#[cfg(test)]
mod tests {
    use botops_contract::{Capability, ConfigState, Position, TradePage};
    use serde_json::value::RawValue;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    enum Choice {
        Named { one: u8, two: u8 },
        Pair(u8, u8),
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Outer {
        inner: Option<Position>,
        list: Vec<Position>,
        pair: Option<(u8, u8)>,
        choice: Option<Choice>,
        raw: Option<Box<RawValue>>,
        any: serde_json::Value,
    }

    #[track_caller]
    fn refuses(text: &str) {
        let refused = read_json_text::<Outer>(text).unwrap_err().to_string();
        assert!(refused.contains("expected an object"), "{text}: {refused}");
        assert!(read_json_bytes::<Outer>(text.as_bytes()).is_err());
    }

    #[test]
    fn a_list_in_the_place_of_an_object_is_refused_at_any_depth() {
        for text in [
            "[]",
            r#"[{"symbol": "A"}]"#,
            r#"{"inner": []}"#,
            r#"{"inner": ["A", "5"]}"#,
            r#"{"list": [{"symbol": "A"}, ["B"]]}"#,
            r#"{"choice": {"Named": [1, 2]}}"#,
            "7",
        ] {
            refuses(text);
        }
    }

    #[test]
    fn what_is_right_is_read_as_before() {
        let text = r#"{"inner": {"symbol": 7203, "quantity": 1.50}, "list": [{}], "pair": [1, 2],
            "choice": {"Named": {"one": 1, "two": 2}}, "raw": [1.10, "x"], "any": [{"a": [1]}], "other": [[]]}"#;
        let read: Outer = read_json_text(text).unwrap();
        let inner = read.inner.unwrap();
        assert_eq!((inner.symbol.as_str(), inner.quantity.unwrap().to_string().as_str()), ("7203", "1.50"));
        assert_eq!((read.list.len(), read.pair), (1, Some((1, 2))));
        assert_eq!(read.choice, Some(Choice::Named { one: 1, two: 2 }));
        assert_eq!((read.raw.unwrap().get(), read.any), ("[1.10, \"x\"]", serde_json::json!([{"a": [1]}])));
        assert_eq!(read_json_text::<Choice>(r#"{"Pair": [1, 2]}"#).unwrap(), Choice::Pair(1, 2));
        let capability = r#"[{"name": "pause", "guarantee": "adapter"}, "resume"]"#;
        assert_eq!(read_json_text::<Vec<Capability>>(capability).unwrap().len(), 2);
        assert!(read_json_text::<Vec<Capability>>(r#"[["pause", "adapter"]]"#).is_err());
        assert!(read_json_text::<TradePage>(r#"{"items": []} 1"#).is_err(), "nothing may follow");
        let state = r#"{"boot_epoch": "e", "running": {"version": 1, "sha256": "a"}, "committed": {"version": 1,
            "sha256": "a"}, "last_outcome": ["t", "committed"]}"#;
        assert!(read_json_text::<ConfigState>(state).unwrap().last_outcome.is_some());
    }
}
