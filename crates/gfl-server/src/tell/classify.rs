//! What a request was for, told by its route and method alone. One table, so that log, metrics and sums agree.

use gfl_core::access::Action;
use http::Method;

/// Which way content goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// To the server.
    Up,
    /// From the server.
    Down,
}

/// How content is carried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// The endpoints of v0.1.
    V0,
    /// One file, or a part of one.
    V1,
    /// Frames of many small files.
    Bulk,
}

/// A request that moves content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Transfer {
    /// Which way.
    pub direction: Direction,
    /// How.
    pub protocol: Protocol,
}

/// What a request was for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Purpose {
    /// For log and sums; none for probes, which nobody sums up.
    pub action: Option<Action>,
    /// Whether it moves content.
    pub transfer: Option<Transfer>,
}

impl Direction {
    /// Both.
    pub const ALL: [Direction; 2] = [Direction::Up, Direction::Down];

    /// For log and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Direction::Up => "up",
            Direction::Down => "down",
        }
    }
}

impl Protocol {
    /// All.
    pub const ALL: [Protocol; 3] = [Protocol::V0, Protocol::V1, Protocol::Bulk];

    /// For log and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Protocol::V0 => "v0",
            Protocol::V1 => "v1",
            Protocol::Bulk => "bulk",
        }
    }
}

/// `route` as the handler named it, `path` as it came.
pub fn purpose(route: &str, method: &Method, path: &str) -> Purpose {
    let looks = matches!(*method, Method::GET | Method::HEAD);
    let action = match route {
        "/livez" | "/readyz" | "/metrics" => return probe(),
        "/v1/files/{path}" if path.ends_with('/') => look_or_change(looks),
        "/v1/files/{path}" => match *method {
            Method::GET => return moves(Direction::Down, Protocol::V1),
            Method::PUT => return moves(Direction::Up, Protocol::V1),
            _ => look_or_change(looks),
        },
        "/v1/uploads/{id}" => match *method {
            Method::PUT | Method::PATCH => return moves(Direction::Up, Protocol::V1),
            _ => look_or_change(looks),
        },
        "/v1/bulk" => return moves(Direction::Up, Protocol::Bulk),
        "/v1/bulk/get" => return moves(Direction::Down, Protocol::Bulk),
        "/upload" => return moves(Direction::Up, Protocol::V0),
        "/download" if *method == Method::HEAD => Action::Look,
        "/download" => return moves(Direction::Down, Protocol::V0),
        "/v1/uploads" | "/v1/batch" | "/v1/meta/{path}" | "/v1/versions/{path}" => {
            look_or_change(looks)
        }
        "/delete" | "/mkdir" => Action::Change,
        "/list" | "/upload/status" | "/v1/stats" | "/v1/access" | "/v1/admin/check" => Action::Look,
        "/auth/challenge" | "/v1/me" => Action::Login,
        _ => Action::Other,
    };
    Purpose {
        action: Some(action),
        transfer: None,
    }
}

fn probe() -> Purpose {
    Purpose {
        action: None,
        transfer: None,
    }
}

fn look_or_change(looks: bool) -> Action {
    if looks { Action::Look } else { Action::Change }
}

fn moves(direction: Direction, protocol: Protocol) -> Purpose {
    Purpose {
        action: Some(match direction {
            Direction::Up => Action::Upload,
            Direction::Down => Action::Download,
        }),
        transfer: Some(Transfer {
            direction,
            protocol,
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn purposes() {
        let of = |method: &str, route: &str, path: &str| {
            let method = Method::from_bytes(method.as_bytes()).unwrap();
            let purpose = purpose(route, &method, path);
            let action = purpose.action.map_or("-", Action::name);
            let moved = purpose.transfer.map_or_else(String::new, |t| {
                format!(" {} {}", t.direction.name(), t.protocol.name())
            });
            format!("{action}{moved}")
        };
        for (method, route, path, want) in [
            ("GET", "/livez", "/livez", "-"),
            ("GET", "/metrics", "/metrics", "-"),
            ("GET", "/v1/files/{path}", "/v1/files/a", "download down v1"),
            ("HEAD", "/v1/files/{path}", "/v1/files/a", "look"),
            ("PUT", "/v1/files/{path}", "/v1/files/a", "upload up v1"),
            ("DELETE", "/v1/files/{path}", "/v1/files/a", "change"),
            ("GET", "/v1/files/{path}", "/v1/files/a/", "look"),
            ("PUT", "/v1/files/{path}", "/v1/files/a/", "change"),
            ("POST", "/v1/uploads", "/v1/uploads", "change"),
            ("PATCH", "/v1/uploads/{id}", "/v1/uploads/x", "upload up v1"),
            ("GET", "/v1/uploads/{id}", "/v1/uploads/x", "look"),
            ("DELETE", "/v1/uploads/{id}", "/v1/uploads/x", "change"),
            ("POST", "/v1/bulk", "/v1/bulk", "upload up bulk"),
            ("POST", "/v1/bulk/get", "/v1/bulk/get", "download down bulk"),
            ("POST", "/upload", "/upload", "upload up v0"),
            ("POST", "/download", "/download", "download down v0"),
            ("GET", "/v1/me", "/v1/me", "login"),
            ("GET", "-", "/nowhere", "other"),
        ] {
            assert_eq!(of(method, route, path), want, "{method} {route}");
        }
    }
}
