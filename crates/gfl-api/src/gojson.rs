//! JSON files as Go reads and writes them: keys match in any letter case, members keep their order, unknown ones
//! survive a rewrite. Used for the two files that v0.1 left behind, its settings and its tokens.
//!
//! Knows nothing of what the keys mean.

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{MapAccess, SeqAccess, Visitor},
    ser::SerializeMap,
};
use std::fmt;

/// A JSON value whose objects keep order and duplicates.
#[derive(Clone, Debug, PartialEq)]
pub enum Node {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(serde_json::Number),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Node>),
    /// An object's members in order.
    Object(Vec<(String, Node)>),
}

impl Node {
    /// Reads a whole document. A byte order mark and trailing data are errors, as in Go.
    pub fn parse(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The document as Go's `MarshalIndent` writes it: two spaces, no final line feed, and the characters that
    /// matter in HTML escaped.
    pub fn to_text(&self) -> String {
        // Plain data always serialises.
        let text = serde_json::to_string_pretty(self).unwrap_or_default();
        let mut escaped = String::with_capacity(text.len());
        for c in text.chars() {
            // These stand only inside texts, so they can be replaced anywhere.
            match c {
                '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                    escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
                }
                c => escaped.push(c),
            }
        }
        escaped
    }

    /// What this is, for messages.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::Text(_) => "a string",
            Self::List(_) => "an array",
            Self::Object(_) => "an object",
        }
    }

    /// The members of an object.
    pub fn members(&self) -> Option<&[(String, Self)]> {
        match self {
            Self::Object(members) => Some(members),
            _ => None,
        }
    }

    /// Sets a member of an object in place, the last whose key matches; adds it behind the others if there is
    /// none. Anything but an object is replaced by an object.
    pub fn set(&mut self, key: &str, value: Self) {
        *self.slot(key) = value;
    }

    /// The place of a member of an object, made with `null` if there is none; see [`Node::set`].
    pub fn slot(&mut self, key: &str) -> &mut Self {
        if !matches!(self, Self::Object(_)) {
            *self = Self::Object(Vec::new());
        }
        let Self::Object(members) = self else {
            return self;
        };
        let at = members
            .iter()
            .rposition(|(k, _)| same_key(k, key))
            .unwrap_or_else(|| {
                members.push((key.to_owned(), Self::Null));
                members.len() - 1
            });
        &mut members[at].1
    }
}

/// Whether Go would match the key: without regard to case, two letters beyond ASCII included that fold into it.
pub fn same_key(key: &str, name: &str) -> bool {
    let fold = |c: char| match c {
        'ſ' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    key.chars().map(fold).eq(name.chars().map(fold))
}

impl From<&str> for Node {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl Serialize for Node {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(value) => value.serialize(serializer),
            Self::Text(value) => serializer.serialize_str(value),
            Self::List(values) => values.serialize(serializer),
            Self::Object(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (key, value) in members {
                    map.serialize_entry(key, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

struct NodeVisitor;

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Node, E> {
        Ok(Node::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Node, E> {
        Ok(Node::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Node, E> {
        Ok(Node::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Node, E> {
        Ok(serde_json::Number::from_f64(value).map_or(Node::Null, Node::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Node, E> {
        Ok(Node::from(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Node::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Node, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = access.next_entry()? {
            members.push(member);
        }
        Ok(Node::Object(members))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_duplicates_survive() {
        let text = r#"{"b":1,"a":[true,null,{"z":-2.5}],"b":"x"}"#;
        let node = Node::parse(text).unwrap();
        assert_eq!(serde_json::to_string(&node).unwrap(), text);
        for bad in ["", "\u{feff}{}", "{} {}", "{'a':1}", "{\"a\":1,}"] {
            assert!(Node::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn written_as_go_writes() {
        let node = Node::Object(vec![
            ("k".into(), Node::from("<a&b>\u{2028}é")),
            ("e".into(), Node::List(vec![])),
        ]);
        assert_eq!(
            node.to_text(),
            "{\n  \"k\": \"\\u003ca\\u0026b\\u003e\\u2028é\",\n  \"e\": []\n}"
        );
        assert_eq!(Node::parse(&node.to_text()).unwrap(), node);
    }

    #[test]
    fn setting_members() {
        let mut node = Node::parse(r#"{"A":1,"x":2,"a":3}"#).unwrap();
        node.set("a", Node::Bool(true));
        node.slot("new").set("y", Node::Null);
        assert_eq!(
            serde_json::to_string(&node).unwrap(),
            r#"{"A":1,"x":2,"a":true,"new":{"y":null}}"#
        );
        assert!(same_key("To\u{212a}en\u{17f}", "TOKENS") && !same_key("token", "tokens"));
    }
}
