//! An error with its causes, in one line.

use std::error::Error;

/// Returns an error's text, then that of each cause, unless it was said already.
#[must_use]
pub fn sources(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text += &format!(": {more}");
        }
        cause = error.source();
    }
    text.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Failure {
        #[error("can not listen on {0}")]
        Silent(u16, #[source] std::io::Error),
        #[error("can not listen on {0}: {1}")]
        Telling(u16, #[source] std::io::Error),
    }

    #[test]
    fn each_cause_is_said_once() {
        let cause = || std::io::Error::other("the port is taken");
        for error in [Failure::Silent(1, cause()), Failure::Telling(1, cause())] {
            assert_eq!(sources(&error), "can not listen on 1: the port is taken");
        }
    }
}
