//! The paths of the site and their responses.

use http_body_util::Full;
use hyper::{
    Method, Response, StatusCode, Uri,
    body::Bytes,
    header::{
        ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use super::{metrics, status};
use crate::server::readiness::Readiness;

/// Everything comes from this service, nothing may contain the page, and no form sends
/// anything.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
    connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const STYLE: &str = include_str!("status.css");
const SCRIPT: &str = include_str!("status.js");

/// The site.
pub struct Site {
    readiness: Readiness,
    metrics: metrics::Metrics,
    template: status::Template,
}

impl Site {
    pub fn new(readiness: Readiness) -> Self {
        Self {
            metrics: metrics::Metrics::new(&readiness),
            template: status::Template::new(),
            readiness,
        }
    }

    /// The response to a request.
    pub fn respond(&self, method: &Method, uri: &Uri) -> Response<Full<Bytes>> {
        if !matches!(*method, Method::GET | Method::HEAD) {
            let text = "only GET and HEAD are served\n".to_owned();
            let mut response = response(StatusCode::METHOD_NOT_ALLOWED, PLAIN, text);
            let allow = HeaderValue::from_static("GET, HEAD");
            response.headers_mut().insert(ALLOW, allow);
            return response;
        }
        match uri.path() {
            "/" => match self.template.render(&self.readiness) {
                Ok(page) => response(StatusCode::OK, "text/html; charset=utf-8", page),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error),
            },
            "/status.css" => response(StatusCode::OK, "text/css; charset=utf-8", STYLE),
            "/status.js" => response(StatusCode::OK, "text/javascript; charset=utf-8", SCRIPT),
            "/metrics" => match self.metrics.encode() {
                Ok(text) => response(StatusCode::OK, metrics::CONTENT_TYPE, text),
                Err(error) => response(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, error.to_string()),
            },
            "/health" => check(self.readiness.check_alive()),
            "/ready" => check(self.readiness.check_ready()),
            _ => response(
                StatusCode::NOT_FOUND,
                PLAIN,
                "there are /, /metrics, /health and /ready\n",
            ),
        }
    }
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn check(result: Result<(), String>) -> Response<Full<Bytes>> {
    match result {
        Ok(()) => response(StatusCode::OK, PLAIN, "ok\n"),
        Err(reason) => response(
            StatusCode::SERVICE_UNAVAILABLE,
            PLAIN,
            format!("{reason}\n"),
        ),
    }
}

fn response(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        (CONTENT_TYPE, content_type),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}
