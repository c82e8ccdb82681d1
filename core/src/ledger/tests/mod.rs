//! Tests of the ledger: transcripts of one voter, a seeded small world of several, single faults in it,
//! and hostile messages.

mod hostile;
mod ledger_of_one;
mod scenes;
mod state;
mod voter;
mod world;
