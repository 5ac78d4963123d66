//! `GET /config`: what v0.1 told everybody. The paths of the server are blank unless its owner wants them shown.

use super::{Answer, demand_method, json};
use crate::server::Call;
use gfl_api::v0::{ServerConfigBody, ServerConfigPart, json_body};
use http::Method;
use http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue};

/// The version of this surface, which is frozen: old clients compare versions as texts. The program's own version
/// is told by `GET /v1/`.
const V0_VERSION: &str = "0.1.0-lite";

pub(super) fn answer(call: &Call) -> Answer {
    demand_method(call, &Method::GET)?;
    let about = &call.server.about;
    let body = ServerConfigBody {
        server: ServerConfigPart {
            address: about.address.clone(),
            storage_dir: about.storage_dir.clone(),
            meta_dir: about.meta_dir.clone(),
            tokens_file: about.tokens_file.clone(),
            max_file_size: call.app().settings().max_file_bytes,
        },
        version: V0_VERSION.to_owned(),
        auth_enabled: call.app().auth_enabled(),
    };
    let mut answer = json(json_body(&body));
    answer
        .headers_mut()
        .insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    Ok(answer)
}
