use std::net::TcpListener;

use super::*;

#[test]
fn nobody_who_asks_a_server_that_is_being_started_counts_and_one_who_gets_no_answer_later_does() {
    let begin = Instant::now();
    let probe = |number: u32, outcome| (begin + PAUSE * number, outcome);
    let took = Duration::from_millis(3);
    // They come in the order in which they end.
    let probes = KeyProbes::of(vec![
        probe(4, ProbeOutcome::Unanswered),
        probe(1, ProbeOutcome::Unanswered),
        probe(2, ProbeOutcome::Answered(took)),
        probe(3, ProbeOutcome::Refused),
        probe(0, ProbeOutcome::Refused),
    ]);
    assert_eq!(probes.unanswered, 1);
    assert_eq!(probes.took, [took, PATIENCE]);
    let none = KeyProbes::of(vec![probe(0, ProbeOutcome::Unanswered)]);
    assert_eq!(none.unanswered, 1);
}

#[tokio::test]
async fn gateway_that_does_not_listen_refuses_and_one_that_closes_gives_no_answer() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let gateway = GatewayAddress::new(&url, None).unwrap();
    let closing = std::thread::spawn(move || drop(listener.accept()));
    let asked = async || probe(gateway.clone(), Instant::now()).await.1;
    assert_eq!(asked().await, ProbeOutcome::Unanswered);
    // With the thread the listener is gone.
    closing.join().unwrap();
    assert_eq!(asked().await, ProbeOutcome::Refused);
}
