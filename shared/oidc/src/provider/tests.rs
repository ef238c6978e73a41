use super::*;

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_bounded() {
    let mut known = BTreeMap::new();
    for number in 0..10 {
        let issuer = format!("https://{number}.example.com");
        let memory = ProviderMemory::new(issuer.clone());
        memory.note_failure("no answer".to_owned());
        known.insert(issuer, Arc::new(memory));
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    let asked = Arc::clone(&known["https://0.example.com"]);
    forget_oldest(&mut known, 3, MOST_KEPT_BYTES);
    let names: Vec<_> = known.keys().map(String::as_str).collect();
    let kept = [
        "https://0.example.com",
        "https://8.example.com",
        "https://9.example.com",
    ];
    assert_eq!(names, kept, "one that is asked stays, and the newest");
    drop(asked);
    forget_oldest(&mut known, 0, MOST_KEPT_BYTES);
    assert!(known.is_empty());
}
