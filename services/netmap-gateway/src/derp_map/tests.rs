use std::{collections::VecDeque, sync::Arc};

use parking_lot::Mutex;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
    sync::mpsc,
};

use super::*;

const SOON: Duration = Duration::from_secs(10);

fn map(region: u32) -> String {
    format!(
        r#"{{"Regions":{{"{region}":{{"RegionID":{region},"RegionCode":"r","Nodes":[{{"Name":"{region}a","RegionID":{region},"HostName":"relay.example.com"}}]}}}}}}"#
    )
}

fn regions(map: &DerpMap) -> Vec<u32> {
    map.regions.keys().copied().collect()
}

/// Answers each request with the next text, and with the last one from then on.
struct Host {
    url: Uri,
    answers: Arc<Mutex<VecDeque<String>>>,
}

impl Host {
    async fn start<const N: usize>(answers: [String; N]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/derpmap?v=1", listener.local_addr().unwrap());
        let answers = Arc::new(Mutex::new(VecDeque::from(answers)));
        let left = Arc::clone(&answers);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let len = stream.read(&mut request).await.unwrap();
                assert!(request[..len].starts_with(b"GET /derpmap?v=1 HTTP/1.1\r\n"));
                let answer = {
                    let mut left = left.lock();
                    match left.len() {
                        1 => left[0].clone(),
                        _ => left.pop_front().unwrap(),
                    }
                };
                // Who has had enough hangs up.
                drop(stream.write_all(answer.as_bytes()).await);
            }
        });
        Self {
            url: url.parse().unwrap(),
            answers,
        }
    }

    fn left(&self) -> usize {
        self.answers.lock().len()
    }

    fn config(&self, file: Option<PathBuf>) -> GatewayConfig {
        GatewayConfig {
            derp_map_url: Some(self.url.clone()),
            derp_map_file: file,
            ..GatewayConfig::default()
        }
    }
}

fn ok(text: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{text}",
        text.len()
    )
}

fn away() -> String {
    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n".to_owned()
}

#[tokio::test]
async fn map_of_the_url_comes_before_the_file_s_and_the_file_s_before_none() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("derp.json");
    std::fs::write(&file, map(901)).unwrap();
    let host = Host::start([ok(&map(902)), away()]).await;

    let config = host.config(Some(file));
    let found = load_initial(&config, DerpMap::default()).await.unwrap();
    assert_eq!((regions(&found.map), found.is_fetched), (vec![902], true));
    let found = load_initial(&config, DerpMap::default()).await.unwrap();
    assert_eq!((regions(&found.map), found.is_fetched), (vec![901], false));

    let own = serde_json::from_str(&map(900)).unwrap();
    let found = load_initial(&host.config(None), own).await.unwrap();
    assert_eq!((regions(&found.map), found.is_fetched), (vec![900], false));
}

#[tokio::test]
async fn what_is_no_map_is_refused_with_its_place() {
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{".to_owned();
    let endless = format!(
        "HTTP/1.1 200 OK\r\n\r\n{}",
        " ".repeat(LIMITS.longest_body + 1)
    );
    for (answer, problem) in [
        (away(), "503"),
        (ok("hello"), "expected value"),
        (ok("{}"), "no relay"),
        (ok(r#"{"Regions":{"1":null}}"#), "invalid type: null"),
        (endless, "limit"),
        (cut, "body"),
    ] {
        let host = Host::start([answer]).await;
        let refused = fetch_url(&host.url).await.unwrap_err().to_string();
        assert!(refused.contains(&host.url.to_string()), "{refused}");
        assert!(refused.contains(problem), "{problem}: {refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn host_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let refused = fetch_url(&url.parse().unwrap()).await.unwrap_err();
    assert!(
        refused.to_string().contains("within 10 seconds"),
        "{refused}"
    );
}

#[tokio::test]
async fn changes_are_told_once_and_failures_change_nothing() {
    let answers = [&map(901), &map(902), &map(902)].map(|text| ok(text));
    let [same, other, again] = answers;
    let broken = ok("hello");
    let host = Host::start([same, away(), broken, other, again, ok(&map(903))]).await;
    let (sender, mut told) = mpsc::unbounded_channel();
    let known = InitialDerpMap {
        map: serde_json::from_str(&map(901)).unwrap(),
        is_fetched: true,
    };
    let pace = RefreshIntervals {
        refresh: Duration::from_millis(1),
        retry: Duration::from_millis(1),
    };
    let following = keep_refreshed(host.url.clone(), known, pace, move |map| {
        drop(sender.send(regions(&map)));
    });
    let following = tokio::spawn(following);
    for expected in [902, 903] {
        let next = tokio::time::timeout(SOON, told.recv()).await.unwrap();
        assert_eq!(next, Some(vec![expected]));
    }
    assert_eq!(host.left(), 1);
    following.abort();
}
