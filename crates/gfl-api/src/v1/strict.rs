//! Objects of a request whose unknown members are noticed: a mistyped name must not quietly mean "not given".
//! The members known are read as ever; nothing unknown is kept in memory but the first one's name.

use crate::config::nearest;
use crate::path::Shown;
use serde::de::value::MapAccessDeserializer;
use serde::de::{DeserializeSeed, IgnoredAny, IntoDeserializer, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use std::fmt;
use std::marker::PhantomData;

/// A body with a fixed set of members, at most 32.
pub trait Members {
    /// Their names on the wire.
    const MEMBERS: &'static [&'static str];
}

/// A body, and which of its members the request gave.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Strict<T> {
    /// The body.
    pub value: T,
    /// The first member that is none of its own.
    pub unknown: Option<UnknownMember>,
    /// One bit for each of [`Members::MEMBERS`].
    given: u32,
}

/// A member that the body does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnknownMember {
    /// Its name.
    pub name: Shown,
    /// The member that looks most like it.
    pub nearest: Option<&'static str>,
    known: &'static [&'static str],
}

impl<T: Members> Strict<T> {
    /// Whether the request gave this member, with whatever value.
    pub fn has(&self, member: &str) -> bool {
        self.given & bit(T::MEMBERS, member) != 0
    }
}

/// A list that is read up to a limit: a body full of `{}` must not become a thousand times its size in memory.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AtMost<T, const MAX: usize> {
    /// The first `MAX` items.
    pub items: Vec<T>,
    /// Whether there were more, which were thrown away.
    pub more: bool,
}

/// The bit of a member; none for an unknown one.
fn bit(members: &[&str], name: &str) -> u32 {
    let index = members.iter().position(|member| *member == name);
    index.map_or(0, |index| 1 << index)
}

impl fmt::Display for UnknownMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unknown member {:?}, ", self.name)?;
        match self.nearest {
            Some(name) => write!(f, "did you mean {name:?}"),
            None => write!(f, "known are {}", self.known.join(", ")),
        }
    }
}

impl<'de, T: Members + Deserialize<'de>> Deserialize<'de> for Strict<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader(PhantomData))
    }
}

struct Reader<T>(PhantomData<T>);

impl<'de, T: Members + Deserialize<'de>> Visitor<'de> for Reader<T> {
    type Value = Strict<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Strict<T>, A::Error> {
        let mut spy = Spy {
            map,
            members: T::MEMBERS,
            given: 0,
            unknown: None,
        };
        let value = T::deserialize(MapAccessDeserializer::new(&mut spy))?;
        Ok(Strict {
            value,
            unknown: spy.unknown,
            given: spy.given,
        })
    }
}

/// Looks at the names on their way to who reads them.
struct Spy<A> {
    map: A,
    members: &'static [&'static str],
    given: u32,
    unknown: Option<UnknownMember>,
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for &mut Spy<A> {
    type Error = A::Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, A::Error> {
        let Some(name) = self.map.next_key::<String>()? else {
            return Ok(None);
        };
        let bit = bit(self.members, &name);
        self.given |= bit;
        if bit == 0 && self.unknown.is_none() {
            self.unknown = Some(UnknownMember {
                name: Shown::new(&name),
                nearest: nearest(&name, self.members),
                known: self.members,
            });
        }
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, A::Error> {
        self.map.next_value_seed(seed)
    }
}

impl<'de, T: Deserialize<'de>, const MAX: usize> Deserialize<'de> for AtMost<T, MAX> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_seq(ListReader(PhantomData))
    }
}

struct ListReader<T, const MAX: usize>(PhantomData<T>);

impl<'de, T: Deserialize<'de>, const MAX: usize> Visitor<'de> for ListReader<T, MAX> {
    type Value = AtMost<T, MAX>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<AtMost<T, MAX>, A::Error> {
        let mut items = Vec::new();
        while items.len() < MAX {
            match list.next_element()? {
                Some(item) => items.push(item),
                None => return Ok(AtMost { items, more: false }),
            }
        }
        let mut more = false;
        while list.next_element::<IgnoredAny>()?.is_some() {
            more = true;
        }
        Ok(AtMost { items, more })
    }
}
