//! Containers are started from the image of the next release, and from that before again while that may be.

use bowline_interop::{Client, ComposeStack, UPGRADE_ORDER, find_next_release, wait_for};

use super::{MINUTE, OWNERS, converges};

/// Starts a service from the image in use.
pub fn replace(stack: &ComposeStack, service: &str) {
    let before = stack.container(service).unwrap();
    stack.run(&["up", "-d", "--no-deps", service]).unwrap();
    assert_ne!(stack.container(service).unwrap(), before, "{service}");
}

/// Upgrades some services and puts them back, then upgrades all. From then on the release before is refused.
pub fn upgrades_each_service(stack: &ComposeStack, clients: &[Client]) {
    let Some(next) = find_next_release() else {
        return;
    };
    stack.keep_image("before").unwrap();
    stack.change_image(&next).unwrap();
    stack.keep_image("next").unwrap();
    let move_all = |services: &[&str], to: &str| {
        stack.use_image(to).unwrap();
        for service in services {
            replace(stack, service);
            converges(stack, clients, &format!("{service}-of-{to}"));
        }
    };
    // One gateway does not know what the next release writes.
    move_all(&UPGRADE_ORDER[..5], "next");
    let mut back = UPGRADE_ORDER;
    back.reverse();
    move_all(&back[1..], "before");
    move_all(&UPGRADE_ORDER, "next");

    for owner in OWNERS {
        wait_for("all know it for long enough", 3 * MINUTE, || {
            let log = stack.run(&["logs", "--no-color", owner]);
            match log.map_err(|error| error.to_string())? {
                log if log.contains("all processes know this schema level") => Ok(()),
                log => Err(log),
            }
        });
    }
    stack.use_image("before").unwrap();
    replace(stack, "identity");
    wait_for("the identity of before is refused", MINUTE, || {
        let log = stack.run(&["logs", "--no-color", "identity"]);
        match log.map_err(|error| error.to_string())? {
            log if log.contains("is in use at schema level") => Ok(()),
            log => Err(log),
        }
    });
    stack.use_image("next").unwrap();
    replace(stack, "identity");
    converges(stack, clients, "upgraded");
}
