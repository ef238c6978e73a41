//! The roles that options name are those that users have.

use bowline_proto::DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::FileDescriptorSet;

/// Returns names and numbers of an enum.
fn values(package: &str, name: &str) -> Vec<(String, i32)> {
    let set = FileDescriptorSet::decode(DESCRIPTOR_SET).expect("the contracts");
    let files = set.file.iter().filter(|file| file.package() == package);
    let mut found = files.flat_map(|file| &file.enum_type);
    let found = found.find(|one| one.name() == name).expect("the enum");
    let values = found.value.iter();
    values
        .map(|value| (value.name().to_owned(), value.number()))
        .collect()
}

#[test]
fn roles_of_options_have_the_numbers_of_users_roles() {
    let of_options = values("bowline.access.v1", "UserRole");
    let of_users = values("bowline.identity.v1", "Role");
    let expected = of_users
        .into_iter()
        .map(|(name, number)| (format!("USER_{name}"), number));
    assert_eq!(of_options, expected.collect::<Vec<_>>());
}
