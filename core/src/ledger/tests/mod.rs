//! Tests of the ledger: transcripts of one voter, a seeded small world of several, and hostile messages.

mod hostile;
mod ledger_of_one;
mod state;
mod world;
