use super::*;

/// A node of an owner.
type Device = (&'static str, u64);

impl SlotHolder for Device {
    type Owner = &'static str;

    fn owner(&self) -> &'static str {
        self.0
    }
}

#[test]
fn source_of_one_slot_answers_as_one_that_had_several() {
    let (ann, ben) = (("ann", 1), ("ben", 2));
    let mut small = KnownTable::<Device>::default();
    small.add(7, &ann);
    let mut large = KnownTable::<Device>::default();
    large.add(7, &ann);
    large.add(8, &ben);
    large.remove(8, &ben);
    assert!(matches!(
        (&small, &large),
        (KnownTable::One(_), KnownTable::Several(_))
    ));
    for holder in [ann, ben, ("ann", 3)] {
        let answers = |table: &KnownTable<Device>| {
            let of_holder = (table.count_of(&holder), table.oldest_of(&holder));
            (table.count(), of_holder, table.first_to_go_for(&holder))
        };
        assert_eq!(answers(&small), answers(&large), "{holder:?}");
    }
    assert_eq!(small.first_to_go_for(&ann), Some(7));
    for table in [&mut small, &mut large] {
        table.remove(7, &ann);
        assert_eq!((table.count(), table.oldest_of(&ann)), (0, None));
    }
}
