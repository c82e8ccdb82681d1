//! Tests of the manager: transcripts with fake gates and workers.
