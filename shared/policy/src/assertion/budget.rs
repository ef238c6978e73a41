//! A bound on what running tests costs: a document of few bytes can ask about every device and every rule very often.

/// The most steps: looks at devices and at parts of rules, together about a second.
const MOST_STEPS: usize = 30_000_000;

/// How many steps it is to find the selectors of an address.
pub(super) const ADDRESS_STEPS: usize = 8;

/// The steps that are left.
#[derive(Debug)]
pub(super) struct Budget(usize);

/// No steps are left.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the tests take too long to run from here on: write fewer of them, with narrower sources")]
pub(super) struct Exhausted;

impl Default for Budget {
    fn default() -> Self {
        Self(MOST_STEPS)
    }
}

impl Budget {
    /// Takes some steps.
    pub(super) fn spend(&mut self, steps: usize) -> Result<(), Exhausted> {
        self.0 = self.0.checked_sub(steps).ok_or(Exhausted)?;
        Ok(())
    }
}
