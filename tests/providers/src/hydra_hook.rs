//! What Hydra asks at each refresh.

use std::sync::{Arc, Mutex};

use axum::{Json, Router, http::StatusCode, routing::post};
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// Says what Kim's claims are by then: the groups, or that Kim is let in no more.
#[derive(Clone, Debug, Default)]
pub struct HydraRefreshHook {
    groups: Arc<Mutex<Option<Vec<&'static str>>>>,
}

impl HydraRefreshHook {
    /// Serves it, and returns where Hydra asks. It says no until it is told the groups.
    pub async fn start(&self) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let hook = self.clone();
        let routes = Router::new().route("/", post(async move || hook.answer()));
        tokio::spawn(async move { axum::serve(listener, routes).await });
        url
    }

    /// Changes what it says: `None` lets the person in no more.
    pub fn set_groups(&self, groups: Option<&[&'static str]>) {
        *self.groups.lock().unwrap() = groups.map(<[_]>::to_vec);
    }

    fn answer(&self) -> (StatusCode, Json<Value>) {
        let Some(groups) = &*self.groups.lock().unwrap() else {
            return (StatusCode::FORBIDDEN, Json(json!({})));
        };
        let claims =
            json!({ "email": "kim@corp.example", "email_verified": true, "groups": groups });
        let session = json!({ "access_token": {}, "id_token": claims });
        (StatusCode::OK, Json(json!({ "session": session })))
    }
}
