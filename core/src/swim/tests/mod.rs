//! Transcripts, laws and small worlds.
