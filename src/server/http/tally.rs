//! Requests to the door, counted by route: what was asked, how it ended, how long it took.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;

use crate::metrics::{HttpNumbers, RouteNumbers};

/// Counts of one node's door, all listeners together. A lock of its own: HTTP is not the way of the many requests.
#[derive(Debug, Default)]
pub struct HttpTally(Mutex<HttpNumbers>);

impl HttpTally {
    /// A request was answered.
    pub(super) fn count(&self, path: &str, status: StatusCode, time: Duration) {
        let mut numbers = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let RouteNumbers { answers, times } = numbers.0.entry(route_of(path)).or_default();
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        if let Some(count) = answers.get_mut(class) {
            *count += 1;
        }
        times.record_time(time);
    }

    /// What it stands at.
    #[must_use]
    pub fn numbers(&self) -> HttpNumbers {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The few routes that there are: whatever else somebody asks for is one more, or its path would be a label.
fn route_of(path: &str) -> &'static str {
    match path {
        "/healthz" => "/healthz",
        "/readyz" => "/readyz",
        "/metrics" => "/metrics",
        "/v1/cluster/status" => "/v1/cluster/status",
        _ if path == "/v1/kv" || path.starts_with("/v1/kv/") => "/v1/kv",
        _ => "(other)",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_of_few_routes_whatever_it_is() {
        let tally = HttpTally::default();
        for path in ["/v1/kv/t/k", "/v1/kv/t/k/s", "/v1/kv", "/metrics", "/x", "/v1/kvx", ""] {
            tally.count(path, StatusCode::OK, Duration::from_millis(1));
        }
        tally.count("/v1/kv/t/k", StatusCode::SERVICE_UNAVAILABLE, Duration::from_millis(1));
        let numbers = tally.numbers().0;
        assert_eq!(numbers.keys().copied().collect::<Vec<_>>(), ["(other)", "/metrics", "/v1/kv"]);
        assert_eq!(numbers["/v1/kv"].answers, [0, 3, 0, 0, 1]);
        assert_eq!(numbers["/v1/kv"].times.count(), 4);
    }
}
