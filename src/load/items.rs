//! The items of a run, as far as the generator has to remember them: contexts, who is being written, sequence numbers.

/// The items of a run.
#[derive(Debug)]
pub struct Items {}
