use futures_util::StreamExt as _;

use super::*;

#[tokio::test]
async fn admin_socket_is_made_where_nobody_else_gets_in() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("admin.sock");
    fs::write(&path, "what an ended process has left").expect("a file");
    let listener = private_socket(&path).expect("a socket");
    let made = listener.local_addr().expect("an address");
    let place = made.as_pathname().and_then(Path::parent);
    assert!(place.is_some_and(|place| place != directory.path()));
    let found = fs::metadata(&path).expect("a socket");
    assert_eq!(found.permissions().mode() & 0o777, 0o600);
    let left = fs::read_dir(directory.path()).expect("a directory");
    assert_eq!(left.count(), 1);
    UnixStream::connect(&path).await.expect("a connection");

    let nowhere = directory.path().join("missing/admin.sock");
    assert!(private_socket(&nowhere).is_err());
}

#[tokio::test]
async fn sockets_of_services_send_small_frames_at_once() {
    let listener = listen_tcp(SocketAddr::from(([127, 0, 0, 1], 0))).expect("a free port");
    let address = listener.local_addr().expect("an address");
    let _client = TcpStream::connect(address).await.expect("a connection");
    let mut incoming = std::pin::pin!(from_services(listener));
    let mut accepted = incoming.next().await.expect("one").expect("accepted");
    assert!(accepted.stream_mut().nodelay().expect("an option"));
}
