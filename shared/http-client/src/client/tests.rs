use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use super::*;

const LIMITS: AnswerLimits = AnswerLimits {
    longest_body: 1000,
    deadline: Duration::from_secs(10),
};

/// A server that answers each request by its path, and counts them.
struct TestServer {
    address: std::net::SocketAddr,
    asked: Arc<AtomicUsize>,
}

impl TestServer {
    async fn start(answer: impl Fn(&str) -> String + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let mut request = vec![0; 4096];
                let len = stream.read(&mut request).await.unwrap();
                let text = String::from_utf8_lossy(&request[..len]).into_owned();
                counted.fetch_add(1, Ordering::SeqCst);
                let path = text.split(' ').nth(1).unwrap_or_default();
                // A client that has read enough hangs up.
                drop(stream.write_all(answer(path).as_bytes()).await);
            }
        });
        Self { address, asked }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }
}

fn ok(body: &str) -> String {
    format!(
        "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn redirect(place: &str) -> String {
    format!(
        "HTTP/1.1 302 Found\r\nConnection: close\r\nLocation: {place}\r\nContent-Length: 0\r\n\r\n"
    )
}

async fn get(url: &str) -> Result<Response<Bytes>, HttpError> {
    let client = HttpClient::new(Destinations::Anywhere, LIMITS);
    client
        .send(Request::get(url).body(Bytes::new()).unwrap())
        .await
}

#[tokio::test]
async fn redirects_are_followed_on_their_own_origin_only() {
    let other = TestServer::start(|_| ok("secret")).await;
    let elsewhere = other.url("/");
    let server = TestServer::start(move |path| match path {
        "/near" => redirect("/end"),
        "/far" => redirect(&elsewhere),
        "/double" => redirect("//other.example/"),
        "/loop" => redirect("/loop"),
        _ => ok("end"),
    })
    .await;
    assert_eq!(
        get(&server.url("/near")).await.unwrap().body().as_ref(),
        b"end"
    );
    for path in ["/far", "/double", "/loop"] {
        let refused = get(&server.url(path)).await.unwrap_err();
        assert!(
            matches!(refused, HttpError::Redirect(_)),
            "{path}: {refused}"
        );
    }
    assert_eq!(other.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn redirected_post_is_not_sent_again() {
    let server = TestServer::start(|path| if path == "/a" { redirect("/b") } else { ok("") }).await;
    let client = HttpClient::new(Destinations::Anywhere, LIMITS);
    let request = Request::post(server.url("/a"))
        .body(Bytes::from("secret=1"))
        .unwrap();
    let refused = client.send(request).await.unwrap_err();
    assert!(matches!(refused, HttpError::Redirect(_)), "{refused}");
    assert_eq!(server.asked.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn long_bodies_heads_and_wrong_schemes_are_refused() {
    let server = TestServer::start(|path| match path {
        "/body" => ok(&"x".repeat(1001)),
        "/head" => format!(
            "HTTP/1.1 200 OK\r\nX: {}\r\n\r\n",
            "x".repeat(4 * LONGEST_HEAD)
        ),
        _ => ok(&"x".repeat(1000)),
    })
    .await;
    assert_eq!(get(&server.url("/")).await.unwrap().body().len(), 1000);
    let refused = get(&server.url("/body")).await.unwrap_err();
    assert!(
        matches!(refused, HttpError::Body { longest: 1000, .. }),
        "{refused}"
    );
    let refused = get(&server.url("/head")).await.unwrap_err();
    assert!(matches!(refused, HttpError::Connection(_)), "{refused}");
    for url in ["ftp://localhost/", "/path"] {
        let refused = get(url).await.unwrap_err();
        assert!(matches!(refused, HttpError::Url(_)), "{refused}");
    }
}

#[tokio::test]
async fn private_address_is_refused_before_a_connection() {
    let server = TestServer::start(|_| ok("")).await;
    let client = HttpClient::new(Destinations::Public { also: Vec::new() }, LIMITS);
    let port = server.address.port();
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "2130706433", "localhost"] {
        let url = format!("http://{host}:{port}/");
        let refused = client
            .send(Request::get(url).body(Bytes::new()).unwrap())
            .await;
        let mut text = String::new();
        let mut error: Option<&dyn std::error::Error> = Some(refused.as_ref().unwrap_err());
        while let Some(cause) = error {
            text += &cause.to_string();
            error = cause.source();
        }
        assert!(text.contains("not public"), "{host}: {text}");
    }
    assert_eq!(server.asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn server_that_never_answers_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refused = get(&format!("http://{}/", listener.local_addr().unwrap())).await;
    let refused = refused.unwrap_err().to_string();
    assert_eq!(refused, "no answer within 10 seconds");
}
