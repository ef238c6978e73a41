use std::os::unix::fs::PermissionsExt as _;

use super::*;

#[test]
fn file_is_made_once_rolled_and_retired() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("sealing-key");
    let missing = load_keys(&path).unwrap_err().to_string();
    assert!(missing.contains("bowline sealing-key create"), "{missing}");
    let sealed = create_keys(&path).unwrap().seal("a", b"secret");
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert!(matches!(create_keys(&path), Err(SealingError::Exists(_))));

    let refused = activate_keys(&path).unwrap_err().to_string();
    assert!(refused.contains("sealing-key prepare"), "{refused}");
    prepare_keys(&path).unwrap();
    assert!(drop_prepared_keys(&path).unwrap());
    assert!(!drop_prepared_keys(&path).unwrap());
    prepare_keys(&path).unwrap();
    assert_eq!(retire_keys(&path).unwrap(), 0);
    activate_keys(&path).unwrap();
    let rolled = load_keys(&path).unwrap();
    assert_eq!(&*rolled.open("a", &sealed).unwrap(), b"secret");
    assert!(!rolled.is_sealed_by_active(&sealed));
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(retire_keys(&path).unwrap(), 1);
    assert!(load_keys(&path).unwrap().open("a", &sealed).is_err());
}
