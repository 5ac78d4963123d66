//! What the client writes into the settings file. Whatever it does not set stays.

use super::{ConfigError, object};
use crate::gojson::Node;

/// A server URL as the client uses it: `http://` in front if there is no scheme, no `/` at the end.
pub fn normalize_server_url(url: &str) -> String {
    let url = url.trim().trim_end_matches('/');
    if url.contains("://") {
        url.to_owned()
    } else {
        format!("http://{url}")
    }
}

/// The file with `client.server_url` set. Everything else stays, order, unknown keys and token included; from an
/// empty text comes the file v0.1 wrote. An error if the text is not a settings file.
pub fn set_client_server(text: &str, url: &str) -> Result<String, ConfigError> {
    let text = if text.trim().is_empty() {
        r#"{"client":{"chunk_size":1048576,"server_url":"","token":""}}"#
    } else {
        text
    };
    set_client_text(text, "server_url", url)
}

/// The file with another text of the section `client` set, such as `token`; see [`set_client_server`].
pub fn set_client_text(text: &str, key: &str, value: &str) -> Result<String, ConfigError> {
    let text = if text.trim().is_empty() { "{}" } else { text };
    let mut root = Node::parse(text).map_err(|e| ConfigError::Syntax(e.to_string()))?;
    object(&root, "the file")?;
    let client = root.slot("client");
    object(client, "client")?;
    client.set(key, Node::from(value));
    Ok(root.to_text())
}
