//! The page at `/`: the cluster and its jobs, live, with nothing but the API itself.

use axum::response::Html;

/// `GET /`
pub async fn index() -> Html<&'static str> {
    Html(include_str!("page.html"))
}
