//! The value of one setting, and what it may be.

use super::{ConfigError, same_key};
use crate::gojson::Node;
use crate::path::Shown;

/// A value with the name of its key for messages.
pub(super) struct Value<'a> {
    pub(super) key: String,
    pub(super) node: &'a Node,
}

impl Value<'_> {
    pub(super) fn wrong<T>(&self, expected: &'static str) -> Result<T, ConfigError> {
        Err(ConfigError::WrongType {
            key: self.key.clone(),
            expected,
            found: self.node.kind(),
        })
    }

    /// A text, or the default for an empty one.
    pub(super) fn text_or(&self, default: &str) -> Result<String, ConfigError> {
        match self.node {
            Node::Text(text) if text.is_empty() => Ok(default.to_owned()),
            Node::Text(text) => Ok(text.clone()),
            _ => self.wrong("a string"),
        }
    }

    pub(super) fn boolean(&self) -> Result<bool, ConfigError> {
        match self.node {
            Node::Bool(value) => Ok(*value),
            _ => self.wrong("true or false"),
        }
    }

    pub(super) fn number<T: TryFrom<u64> + Into<u64>>(&self, max: T) -> Result<T, ConfigError> {
        let max: u64 = max.into();
        match self.node {
            Node::Number(n) => {
                let fits = n
                    .as_u64()
                    .filter(|n| *n <= max)
                    .and_then(|n| T::try_from(n).ok());
                fits.ok_or_else(|| ConfigError::OutOfRange {
                    key: self.key.clone(),
                    max,
                })
            }
            _ => self.wrong("a whole number"),
        }
    }

    pub(super) fn choice<T: Copy>(&self, choices: &[(&'static str, T)]) -> Result<T, ConfigError> {
        let Node::Text(text) = self.node else {
            return self.wrong("a string");
        };
        let found = choices.iter().find(|(name, _)| same_key(text, name));
        found
            .map(|(_, value)| *value)
            .ok_or_else(|| ConfigError::NoSuchChoice {
                key: self.key.clone(),
                value: Shown::new(text),
                choices: choices.iter().map(|(name, _)| *name).collect(),
            })
    }

    /// A list of texts.
    pub(super) fn texts(&self) -> Result<Vec<String>, ConfigError> {
        let Node::List(items) = self.node else {
            return self.wrong("a list of strings");
        };
        let text = |item: &Node| match item {
            Node::Text(text) => Ok(text.clone()),
            _ => self.wrong("a list of strings"),
        };
        items.iter().map(text).collect()
    }
}
