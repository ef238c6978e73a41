//! What running tests may cost: a document of few bytes can ask about every device and every rule very often.

/// The most looks at devices and parts of rules, together about a second.
const MOST: usize = 30_000_000;

/// How many such looks it is to find the parties of an address.
pub(super) const ADDRESS: usize = 8;

/// What is left.
#[derive(Debug)]
pub(super) struct Budget(usize);

/// Nothing is left.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the tests take too long to run from here on: write fewer of them, with narrower sources")]
pub(super) struct Exhausted;

impl Default for Budget {
    fn default() -> Self {
        Self(MOST)
    }
}

impl Budget {
    /// Takes some looks.
    pub(super) fn spend(&mut self, looks: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(looks).ok_or(Exhausted)?;
        Ok(())
    }
}
