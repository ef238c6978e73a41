use std::os::unix::fs::PermissionsExt as _;

use super::*;
use crate::AcmeConfig;

fn open(state_dir: &Path, directory_url: &str) -> AcmeStore {
    let config = AcmeConfig {
        agree_to_terms: true,
        directory_url: directory_url.to_owned(),
        state_dir: state_dir.to_owned(),
        ..AcmeConfig::default()
    };
    AcmeStore::open(&config.plan("vpn.example.com").unwrap().unwrap()).unwrap()
}

#[test]
fn one_process_orders_at_a_time() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), "https://a.example.com/directory");
    let held = store.try_lock().unwrap();
    assert!(held.is_some());
    assert!(store.clone().try_lock().unwrap().is_none());
    drop(held);
    assert!(store.try_lock().unwrap().is_some());
}

#[test]
fn another_authority_has_an_account_of_its_own_and_nobody_else_reads_either() {
    let directory = tempfile::tempdir().unwrap();
    let real = open(directory.path(), "https://a.example.com/directory");
    real.write_account("{}").unwrap();
    let staging = open(directory.path(), "https://a.example.com/staging");
    assert_eq!(staging.read_account().unwrap(), None);
    assert_eq!(real.read_account().unwrap().as_deref(), Some("{}"));
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&real.account_file()), 0o600);
    assert_eq!(mode(&real.authority), 0o700);
}

#[test]
fn only_answers_of_challenges_are_read_by_their_token() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path(), "https://a.example.com/directory");
    store.write_account("secret").unwrap();
    store.write_http_answer("token-1_A", "answer").unwrap();
    let read = |token| store.read_http_answer(token).unwrap();
    assert_eq!(read("token-1_A").as_deref(), Some("answer"));
    for stranger in [
        "../account.json",
        "..",
        "",
        "vpn.example.com.pem",
        "token-2",
    ] {
        assert_eq!(read(stranger), None, "{stranger}");
    }
    assert!(store.write_http_answer("../account.json", "x").is_err());
    store.clear_answers().unwrap();
    assert_eq!(read("token-1_A"), None);
    assert_eq!(store.read_account().unwrap().as_deref(), Some("secret"));
}
