//! Settings that are lists.

use super::{ConfigError, Value};
use crate::gojson::Node;

impl Value<'_> {
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
